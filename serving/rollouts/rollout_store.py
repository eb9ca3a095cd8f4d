"""What a server of a model directory must not forget: files in `<root>/.rollout`.

- `state.json`: the rollout.
- `answers.jsonl`: the answers that wait for their label.
- `labels.json`: what the labels have said about the champion.

`state.json` and `labels.json` are replaced in one step, so that a reader always finds a whole one, and a server that
was killed continues from it. Of several servers of one directory one judges and writes; the others only divide their
traffic.
"""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import LockedError, ServingError
from noria.core.locks import hold
from noria.serving.rollouts.collapse import LossCollapse
from noria.serving.rollouts.rollout import Rollout

LOG = logging.getLogger("noria.serving")

FOLDER = ".rollout"
MAX_ANSWERS_BYTES = 16 << 20  # of each of two files: some 100,000 requests
FINISH_THE_FILE = "delete the file; no rollout is under way then, and the champion has all traffic"


class RolloutStore:
    """The rollout of one model directory, and what waits for labels there.

    Args:
      root: the model directory.
    """

    def __init__(self, root: Path):
        self.folder = root / FOLDER
        self.path = self.folder / "state.json"
        self.labels = self.folder / "labels.json"
        self._answers = self.folder / "answers.jsonl"
        self._older_answers = self.folder / "answers.older.jsonl"

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

    def keep(self, answers: bytes, champion: int, losses: LossCollapse) -> None:
        """Adds lines of `Answers.changes`, of which the newest are kept, and replaces the evidence of the labels.

        In this order: a kill between the two forgets labels, and counts none twice.

        Raises:
          ServingError: a file cannot be written.
        """
        with files.explained("what waits for labels cannot be written", self.folder, ServingError):
            if self._answers.exists() and self._answers.stat().st_size > MAX_ANSWERS_BYTES:
                self._answers.replace(self._older_answers)
            with self._answers.open("ab") as file:
                file.write(b"\n" + answers)  # a kill may have cut the line before
            files.write_json(self.labels, {"version": champion, **dataclasses.asdict(losses)})

    def read_answers(self) -> list[bytes]:
        """The lines of `keep`, oldest first; none if they cannot be read."""
        found: list[bytes] = []
        for path in (self._older_answers, self._answers):
            with contextlib.suppress(OSError):
                found += path.read_bytes().splitlines()
        return found

    def read_losses(self) -> tuple[int, LossCollapse] | None:
        """The champion, and what the labels have said about it; None if nothing is known.

        A damaged file is renamed, and says nothing: evidence that may be wrong must not roll back a version.
        """
        try:
            values: dict[str, Any] = json.loads(self.labels.read_text(encoding="utf-8"))
            return int(values.pop("version")), LossCollapse.from_json(values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            aside = self.labels.with_name(f"{self.labels.name}.damaged")
            with contextlib.suppress(OSError):
                self.labels.replace(aside)
            LOG.error(
                "%s cannot be read (%s); it is now %s, and the evidence of labels starts again from nothing",
                self.labels,
                error,
                aside.name,
            )
            return None

    def mark(self) -> files.Mark | None:
        """Changes when the file does."""
        return files.mark(self.path)

    def judge(self) -> contextlib.ExitStack | None:
        """The right to judge and to `keep`, until the stack is closed; None if another server has it, or if nobody may
        write here."""
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(hold(self.folder, name="judge", command="noria serve"))
        except LockedError:
            return None
        return stack
