"""A file of model updates: JSON lines. `updates: [{file: updates.jsonl}]`."""

import os
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import ConfigError, DeliveryError
from noria.pipeline.updates.targets.base import Target

__all__ = ["File"]


class File(Target):
    """Appends to a file. `given` is its path."""

    def __init__(self, given: Any, folder: Path):
        super().__init__(given, folder)
        if not isinstance(given, str):
            raise ConfigError(
                f"a file of updates must be a path, got {given!r}",
                where="config key updates",
                next_step="write `- file: updates.jsonl`",
            )
        self.path = folder / Path(given).expanduser()

    @property
    def name(self) -> str:
        return f"file {self.path}"

    def send(self, event: bytes) -> None:
        with files.explained("the file of updates cannot be written", self.path, DeliveryError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            with self.path.open("a+b") as file:
                end = file.seek(0, os.SEEK_END)
                if end:
                    file.seek(end - 1)
                    # A killed writer left half a line. It has no end, so readers know that it is not an event.
                    torn = file.read(1) != b"\n"
                    event = b"\n" + event if torn else event
                file.write(event + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if new:
                files.sync(self.path.parent)
