"""Finds a channel's executions by one query, so that a run costs the same however many came before it.

For each of its 30 input channels a run of TFX fetches every execution of the pipeline's whole history and intersects
(0.3 s of processor time after 50 runs, 0.9 s after 100). TFX itself has the query that MLMD answers from its indexes
(`execution_lib`), and a note to use it here. This module is the only one that knows; a test compares both.
"""

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from tfx.orchestration.portable.input_resolution import channel_resolver
from tfx.orchestration.portable.mlmd import execution_lib

_NAME = "_get_executions_by_all_contexts"


def executions(store: Any, contexts: Sequence[Any]) -> list[Any]:
    """Executions that belong to all contexts, oldest first."""
    if not contexts:
        return []
    handle = SimpleNamespace(store=store)
    found = execution_lib.get_executions_associated_with_all_contexts(handle, contexts)
    return sorted(found, key=lambda execution: execution.id)


@contextlib.contextmanager
def by_query() -> Iterator[None]:
    """Has TFX ask that way inside the block; does nothing where a release of TFX no longer has the slow way."""
    slow = getattr(channel_resolver, _NAME, None)
    if slow is not None:
        setattr(channel_resolver, _NAME, executions)
    try:
        yield
    finally:
        if slow is not None:
            setattr(channel_resolver, _NAME, slow)
