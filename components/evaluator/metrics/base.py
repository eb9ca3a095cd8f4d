"""What a gate metric is: one number for how well a model predicts the labels of some rows.

The command line reads this folder at every start, so it imports neither numpy nor TensorFlow at the top of a module.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from noria.core.tasks import TASKS

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TASKS", "Metric", "divided"]


class Metric:
    """The base of all metrics. A subclass gives the class attributes and `compute`.

    Attributes:
      label: name for people.
      better: `higher`, `lower`, or None where neither is better (calibration, counts).
      tasks: the tasks that it is for.
      reported: the tasks in which it is always computed, whether or not a bound names it.
      order: place among the metrics that are shown; the lowest ones are shown first.
      needs: what rows it needs to be defined, such as `rows of both classes`; empty if it always is.
      tfma: task to the name of TFMA's or Keras's class and its arguments, which Beam uses. A task that is not here is
        computed by `compute` under Beam, too, from all rows of a slice at once.
    """

    label: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"] | None] = None
    tasks: ClassVar[tuple[str, ...]] = TASKS
    reported: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 100
    needs: ClassVar[str] = ""
    tfma: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {}

    def compute(self, labels: "np.ndarray", scores: "np.ndarray", task: str) -> float:
        """The metric of all rows at once.

        Args:
          labels: `[n]` float64, n >= 1: 0 or 1, the class's index, or a number.
          scores: `[n]` float64: the probability of 1, or a number; for multiclass `[n, classes]` float32.
          task: one of `tasks`.

        Returns:
          NaN where the rows do not have what the metric `needs`.
        """
        raise NotImplementedError


def divided(part: float, whole: float) -> float:
    """`part / whole`, or NaN where `whole` is 0.

    >>> divided(1, 4), divided(1, 0)
    (0.25, nan)
    """
    return float(part / whole) if whole else float("nan")
