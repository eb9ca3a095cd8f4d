"""The errors that users see.

    NoriaError
    ├── ConfigError     a key or value in the project's YAML file
    ├── RevisionError   a git repository or revision that does not exist
    ├── DataError       a table, file, column or value that cannot be read or trained on
    │   └── ThinError   a span with too few rows; its run ends here
    ├── SpanError       a span that exists already, is missing, or is damaged
    ├── RegistryError   a version that is missing, in the wrong state, or damaged
    ├── LockedError     another run uses the project
    ├── StoreError      an object store that refuses, or cannot be reached
    ├── GateError       a gate that cannot judge (a metric, slice or threshold that makes no sense)
    ├── WarmStartError  a champion whose state cannot be loaded into the new model
    ├── LaneError       no interpreter, or packages that do not fit this machine
    ├── ServingError    a server that does not answer or refuses, or a model that cannot be served
    ├── ClusterError    Kubeflow Pipelines refuses, fails, or cannot be reached
    └── DeliveryError   a target of model updates does not take them; they will be sent again

The command line prints the message and exits with 1; it never shows a traceback for one of these.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "ClusterError",
    "ConfigError",
    "DataError",
    "DeliveryError",
    "GateError",
    "LaneError",
    "LockedError",
    "NoriaError",
    "RegistryError",
    "RevisionError",
    "ServingError",
    "SpanError",
    "StoreError",
    "ThinError",
    "WarmStartError",
    "did_you_mean",
]


def did_you_mean(word: object, names: Iterable[str]) -> str | None:
    """`did you mean 'origin'?` for the name that is most similar to a wrong one; None if none is similar."""
    near = difflib.get_close_matches(str(word), list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else None


class NoriaError(Exception):
    """Says what was wrong, where, and what to do next.

    Args:
      what: one sentence: what was found and what was expected.
      where: file, key, column or row it was found in.
      next_step: the command or edit that solves it.
    """

    def __init__(self, what: str, where: object | None = None, next_step: str | None = None):
        super().__init__(what, where, next_step)
        self.what = what
        self.where = None if where is None else str(where)
        self.next_step = next_step

    def __str__(self) -> str:
        lines = [self.what]
        if self.where is not None:
            lines.append(f"  where: {self.where}")
        if self.next_step is not None:
            lines.append(f"  next:  {self.next_step}")
        return "\n".join(lines)


class ConfigError(NoriaError):
    """A key or value in the project's YAML file."""


class RevisionError(NoriaError):
    """A git repository or revision that does not exist."""


class DataError(NoriaError):
    """A table, file, column or value that cannot be read or trained on."""


class ThinError(DataError):
    """A span with too few rows to train or evaluate on; its run ends here."""


class SpanError(NoriaError):
    """A span that exists already, is missing, or is damaged."""


class RegistryError(NoriaError):
    """A version that is missing, in the wrong state, or damaged."""


class LockedError(NoriaError):
    """Another run holds the project."""


class StoreError(NoriaError):
    """An object store that refuses, or cannot be reached."""


class GateError(NoriaError):
    """A gate that cannot judge: a metric, slice or threshold that makes no sense."""


class WarmStartError(NoriaError):
    """A champion whose state cannot be loaded into the new model."""


class LaneError(NoriaError):
    """No interpreter, or packages that do not fit this machine."""


class ServingError(NoriaError):
    """A server that does not answer or refuses, or a model that cannot be served."""


class ClusterError(NoriaError):
    """Kubeflow Pipelines refuses, fails, or cannot be reached.

    Args:
      status: the HTTP status, if there was an answer.
      passing: whether the same request may succeed a minute later.
    """

    def __init__(
        self,
        what: str,
        where: object | None = None,
        next_step: str | None = None,
        status: int | None = None,
        passing: bool = False,
    ):
        super().__init__(what, where, next_step)
        self.status = status
        self.passing = passing


class DeliveryError(NoriaError):
    """A target of model updates does not take them; they will be sent again."""
