"""What takes model updates. The config reads this folder at every start of the command line, so it is light."""

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

    def send(self, event: bytes, event_id: str) -> None:
        """Delivers one event, and returns when the target has stored it.

        Args:
          event: a CloudEvent in structured mode, JSON.
          event_id: its id.

        Raises:
          DeliveryError: the target does not take it; the event will be sent again.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Ends the connection."""
