"""What a target of model updates is. The config reads this folder at each start of the command line, so it is light."""

from pathlib import Path
from typing import Any

__all__ = ["Target"]


class Target:
    """The base of all targets.

    Args:
      given: what the user writes in the config: the value behind the name of the kind.
      folder: the project's folder; relative paths start there.

    Raises:
      ConfigError: `given` is wrong, or a package is missing.
    """

    def __init__(self, given: Any, folder: Path):
        self.given = given
        self.folder = folder

    @property
    def name(self) -> str:
        """What messages call the target; without secrets."""
        raise NotImplementedError

    def send(self, event: bytes) -> None:
        """Delivers one event, and returns when the target has stored it.

        Args:
          event: a CloudEvent in structured mode, one line of JSON. Its `id` is the same when it is sent again.

        Raises:
          DeliveryError: the target does not take it; the event will be sent again.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Ends the connection."""
