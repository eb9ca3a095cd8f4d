"""The journal: what each stage did, as structured records on one logger.

Components write records. The runner shows progress from them, and writes them to the run's `journal.jsonl`. Without a
listener they reach the log as plain lines. Standard library only, except for core.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

from noria.core import freed_memory
from noria.core.errors import ThinError

logger = logging.getLogger("noria.journal")
logger.setLevel(logging.INFO)


class Stage:
    """One stage of a run, while it works."""

    def __init__(self, name: str, **fields: Any):
        self.name = name
        self.fields = fields

    def note(self, **fields: Any) -> None:
        """Adds fields (rows, path, reason, ...; JSON values) to the stage's record, and writes them at once."""
        self.fields.update(fields)
        _write({"stage": self.name, "event": "note", **fields})


@contextlib.contextmanager
def stage(name: str, **fields: Any) -> Iterator[Stage]:
    """Writes records for the start and the end of a stage, with its seconds; an error is recorded and raised.

    A thin span ends the stage without a failure, though it is raised as an error. Memory that a large stage has freed
    goes back to the system.
    """
    current = Stage(name, **fields)
    _write({"stage": name, "event": "start", **fields})
    started = time.monotonic()
    try:
        with freed_memory.given_back():
            yield current
    except ThinError as error:
        _write(
            {"stage": name, "event": "end", "seconds": time.monotonic() - started, **current.fields}, error
        )
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
    _write({"stage": name, "event": "end", "seconds": time.monotonic() - started, **current.fields})


@contextlib.contextmanager
def written_by(handler: logging.Handler) -> Iterator[None]:
    """Gives the journal, and the plain lines on its logger, to one handler only; closes it after the block.

    Libraries give the root logger a handler (`logging.info` does), which would write each line once more.
    """
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
        handler.close()


def _write(record: dict[str, Any], error: BaseException | None = None) -> None:
    text = " ".join(f"{key}={value}" for key, value in record.items())
    # With the error itself, because Beam passes only its text.
    logger.info("%s", text, extra={"journal": record, "error": error})
