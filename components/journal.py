"""The journal: what each stage did, as structured records on one logger.

Components write; the runner shows progress from it and keeps it in the run's `journal.jsonl`. Where nobody
listens (a Kubeflow task) the records still reach the log as plain lines. Beside the errors, standard library only.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

from noria.core.errors import ThinError

logger = logging.getLogger("noria.journal")
logger.setLevel(logging.INFO)


class Stage:
    """One stage of a run, while it works."""

    def __init__(self, name: str, **facts: Any):
        self.name = name
        self.facts = facts

    def note(self, **facts: Any) -> None:
        """Adds facts (rows, path, reason, ...; JSON values) to the stage's record and shows them at once."""
        self.facts.update(facts)
        _write({"stage": self.name, "event": "note", **facts})


@contextlib.contextmanager
def stage(name: str, **facts: Any) -> Iterator[Stage]:
    """Journals the start and the end of a stage, with its seconds; an error is journalled and goes on up.

    A thin span is an end and no failure, though it goes up as an error.
    """
    current = Stage(name, **facts)
    _write({"stage": name, "event": "start", **facts})
    started = time.monotonic()
    try:
        yield current
    except ThinError as error:
        _write({"stage": name, "event": "end", "seconds": time.monotonic() - started, **current.facts}, error)
        raise
    except BaseException as error:
        record = {
            "stage": name,
            "event": "failed",
            "seconds": time.monotonic() - started,
            "error": str(error),
        }
        _write(record, error)
        raise
    _write({"stage": name, "event": "end", "seconds": time.monotonic() - started, **current.facts})


def _write(record: dict[str, Any], error: BaseException | None = None) -> None:
    text = " ".join(f"{key}={value}" for key, value in record.items())
    # The error itself rides along: Beam hands on no more than its text.
    logger.info("%s", text, extra={"journal": record, "error": error})
