"""The rollout of a model directory in a file: `<root>/.rollout/state.json`.

It is replaced in one step, by one writer at a time, so that a reader always finds a whole one, and a server that was
killed continues from it. Of several servers of one directory one judges; the others only divide their traffic.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from noria.core import files
from noria.core.errors import LockedError, ServingError
from noria.core.locks import hold
from noria.serving.rollouts.rollout import Rollout

FOLDER = ".rollout"
MAX_ANSWERS_BYTES = 16 << 20  # of each of two files: some 100,000 requests
FINISH_THE_FILE = "delete the file; no rollout is under way then, and the champion has all traffic"


class Store:
    """The rollout of one model directory.

    Args:
      root: the model directory.
    """

    def __init__(self, root: Path):
        self.folder = root / FOLDER
        self.path = self.folder / "state.json"

    def read(self) -> Rollout | None:
        """The newest rollout, also one that has ended; None before the first.

        Raises:
          ServingError: the file cannot be read.
        """
        try:
            return Rollout.from_json(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ServingError(
                f"the rollout's file cannot be read: {error}", where=self.path, next_step=FINISH_THE_FILE
            ) from error

    def change(self, act: Callable[[Rollout | None], Rollout | None]) -> Rollout | None:
        """Replaces the rollout by what `act` makes of it; what it raises changes nothing.

        Raises:
          LockedError: another process writes for longer than 10 s.
          ServingError: the file cannot be read or written.
        """
        with (
            hold(self.folder, wait=10, name="lock", command="a rollout"),
            files.explained("the rollout cannot be written", self.path, ServingError),
        ):
            before = self.read()
            after = act(before)
            if after is not None and after is not before:
                files.write_json(self.path, after.to_json())
            return after

    def append_answers(self, rollout: str, lines: bytes) -> None:
        """Adds answers of a rollout that wait for their label, in lines. The newest ones are kept.

        Raises:
          ServingError: the file cannot be written.
        """
        path, older = self._answers(rollout)
        with files.explained("the rollout's answers cannot be written", path, ServingError):
            if path.exists() and path.stat().st_size > MAX_ANSWERS_BYTES:
                path.replace(older)
            with path.open("ab") as file:
                file.write(lines)

    def read_answers(self, rollout: str) -> list[bytes]:
        """The lines of `append_answers`, oldest first; none if they cannot be read."""
        found: list[bytes] = []
        for path in reversed(self._answers(rollout)):
            with contextlib.suppress(OSError):
                found += path.read_bytes().splitlines()
        return found

    def forget_answers(self, rollout: str) -> None:
        """Deletes them: the rollout has ended."""
        for path in self._answers(rollout):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _answers(self, rollout: str) -> tuple[Path, Path]:
        return self.folder / f"answers-{rollout}.jsonl", self.folder / f"answers-{rollout}.older.jsonl"

    def mark(self) -> files.Mark | None:
        """Changes when the file does."""
        return files.mark(self.path)

    def judge(self) -> contextlib.ExitStack | None:
        """The right to judge, until the stack is closed; None if another server has it."""
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(hold(self.folder, name="judge", command="noria serve"))
        except LockedError:
            return None
        return stack
