"""The event log: what happened, one numbered file per event, never changed, never deleted.

An event file appears complete under its number or not at all. Of two writers that want the same number, one gets the
next. The state of the registry follows from these files in their order.
"""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import RegistryError


class EventLog:
    """Events in `folder/<number:08d>.json`, numbered from 1 without gaps."""

    def __init__(self, folder: Path):
        self.folder = folder

    def append(self, kind: str, **fields: Any) -> int:
        """Writes an event under the next number and returns the number.

        Raises:
          RegistryError: an event before it is missing; readers would never reach an event after a gap.
        """
        now = datetime.datetime.now(datetime.timezone.utc)
        event = {"kind": kind, "at": now.isoformat(timespec="milliseconds"), **fields}
        data = (json.dumps(event, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
        number = self.last() + 1
        while True:
            try:
                files.write_new(self._path(number), data)
                return number
            except FileExistsError:
                number += 1

    def after(self, number: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The events after the one with this number, in order.

        Raises:
          RegistryError: an event file is damaged or missing (by something other than its writer).
        """
        if number == 0:
            self.last()  # a reader from the start checks for gaps; later the writers do
        while (path := self._path(number + 1)).exists():
            number += 1
            try:
                yield number, json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise RegistryError(
                    f"an event of the registry cannot be read: {error}",
                    where=path,
                    next_step="restore this file from a backup; without it the registry's state is unknown",
                ) from error

    def mark(self, number: int) -> files.Mark | None:
        """Distinguishes an event's file from another file of the same number; None if there is no file."""
        return files.mark(self._path(number))

    def last(self) -> int:
        """The newest event's number, 0 for none.

        Raises:
          RegistryError: one before it is missing.
        """
        if not self.folder.is_dir():
            return 0
        numbers = {int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdigit()}
        last = max(numbers, default=0)
        if len(numbers) == last:
            return last
        for number in range(1, last):
            # A list of a folder that is being written may have a later file and not the one before.
            if number not in numbers and not self._path(number).exists():
                raise RegistryError(
                    f"event {number} of the registry is missing, and event {last} is there",
                    where=self._path(number),
                    next_step="restore the whole folder from one backup; without this file the registry's state "
                    "is unknown",
                )
        return last

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.json"
