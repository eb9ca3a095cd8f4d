"""What a model family is: it builds a Keras model, and says which rows of its variables belong to which feature."""

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:  # they take time to import, and the config reads this file
    import numpy as np

    from noria.components.trainer.model_inputs import Features


class Family:
    """One kind of model. A user's family is a subclass, named by its import path: `trainer.family: models.Tower`.

    The inputs of the model are either the two matrices

    - `numeric`: float32 `[batch, features.width]`, the numbers, clipped to [-3, 3];
    - `categorical`: int32 `[batch, len(features.categorical)]`, the ids from 0;

    or single features by their names, each `[batch, 1]` (or `[batch, width]`). The output is logits
    `[batch, settings.outputs]`, for a regression in deviations of the label; or `[batch, members, settings.outputs]` of
    several members, each trained on its own loss, whose mean score is the score. The loss and what turns logits into
    scores belong to the Network.

    A warm run copies every variable of the champion by its name and shape. Two kinds of variables need more, and the
    two methods below name them: rows that belong to vocabulary entries, and rows that read numeric inputs.

    Attributes:
      hidden_units, dropout, learning_rate, min_steps: the settings of these names where the config leaves them open.
    """

    hidden_units: ClassVar[tuple[int, ...]] = (256, 64)
    dropout: ClassVar[float] = 0.5
    learning_rate: ClassVar[float] = 1e-3
    min_steps: ClassVar[int] = 300

    def build(self, features: "Features", settings: Any) -> Any:
        """Builds the model, a functional `keras.Model`.

        Args:
          features: what the model reads. An embedding should be `feature.width` wide: a warm run keeps this width
            while the vocabulary grows.
          settings: `noria.components.trainer.settings.Settings`; `settings.outputs` is the number of logits.
        """
        raise NotImplementedError

    def feature_of_rows(self, variable: str, shape: tuple[int, ...], features: "Features") -> str | None:
        """The categorical feature whose ids number the rows of a variable; None if there is none.

        When a vocabulary is rebuilt, a warm run moves each row to the new id of its entry. As it is here, a variable
        belongs to a feature if its path has a part `embedding_<feature>` or `wide_<feature>` and it has one row for
        each id.

        Args:
          variable: its path in Keras, such as `embeddings/embedding_dest`.
          shape: of the variable.
          features: what the model reads.
        """
        parts = set(variable.split("#")[0].split("/"))
        for feature in features.categorical:
            marks = {f"embedding_{feature.key}", f"wide_{feature.key}"}
            if parts & marks and len(shape) > 0 and shape[0] == feature.rows:
                return feature.name
        return None

    def numeric_rows(
        self, variable: str, shape: tuple[int, ...], features: "Features"
    ) -> "np.ndarray | None":
        """The rows of a variable that read each number: int `[features.width, rows]`; None if it reads no numbers.

        When an input starts fresh in a warm run (its scale has changed too much), its rows become 0, so that the rest
        of the model keeps its function: what they read must be 0 where the number is 0. A family that does not name
        them (as it is here) keeps its weights for such an input.

        Args:
          variable, shape, features: as for `feature_of_rows`.
        """
        return None

    def fit_numbers(self, model: Any, numbers: "np.ndarray", columns: list[int]) -> None:
        """Sets the fixed variables that follow from the numbers, such as quantiles; by default there are none.

        It is called in a cold run, and in a warm run for the inputs that start fresh.

        Args:
          model: what `build` has given.
          numbers: some of the window's rows as the model sees them, `[rows, features.width]`; there may be none.
          columns: the columns to set.
        """
