"""TFT's analysis in this process: the same graph of operations and the same combiners, without Beam.

TFT makes a graph of operations from a preprocessing_fn (`tft_beam.build`) and translates each to a Beam transform.
Here a visitor executes them; a PCollection is a list. Each phase is one pass over the rows, batch by batch. All
analyzers of the phase get each batch and hold only their accumulators, so memory is bounded by one batch and the
accumulators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noria.components.internals import tft as tft_internals
from noria.components.internals import tft_beam as tft_beam_internals
from noria.components.internals.tft import analyzer_nodes
from noria.components.internals.tft_beam import beam_nodes
from noria.components.transform.example_rows import ExampleRows
from noria.components.transform.reducers import REDUCES, Feed
from noria.components.transform.tft_operations import IMPLEMENTATIONS, Cache, Datasets, Interpreter


class NotCovered(Exception):
    """This preprocessing_fn uses an analyzer that only the Beam path has; the message names it."""


@dataclass
class Analysed:
    """The result of an analysis.

    Attributes:
      saved_model: folder of the final SavedModel, TFT's metadata inside.
      cache: new encoded accumulators, for datasets that have none yet.
      passes: over the data: one for each phase, and in the first phase one for each dataset.
      rows_read: rows of all passes.
    """

    saved_model: str
    cache: Cache
    passes: int
    rows_read: int


def analyze(traced: tft_internals.Traced, source: ExampleRows, datasets: Datasets) -> Analysed:
    """Runs all analyzers of a traced preprocessing_fn and writes the final SavedModel.

    Raises:
      NotCovered: before any row is read, if an analyzer is not one of `operations`.
    """
    known = {key: _CacheEntries(entries) for key, entries in datasets.cache.items()}
    root, cache_nodes = tft_beam_internals.build(traced, list(datasets.files), known)
    leaves = [node for entries in cache_nodes.values() for node in entries.values()]
    plan = plan_passes([root, *leaves])
    visitor = Interpreter(traced, source, datasets, plan)
    traverser = tft_internals.Traverser(visitor)
    (saved_model,) = traverser.visit_value_node(root)
    cache = {
        key: {entry: traverser.visit_value_node(node) for entry, node in entries.items()}
        for key, entries in cache_nodes.items()
    }
    return Analysed(saved_model, cache, len(plan), visitor.rows_read)


class _CacheEntries(dict):
    """A dataset's cache entries in the form that `build` needs."""

    metadata = None


@dataclass(frozen=True)
class _Seen:
    """A node's output while planning."""

    operation: Any
    inputs: tuple["_Seen", ...]


def plan_passes(leaves: Sequence[tft_internals.ValueNode]) -> dict[str, list[Feed]]:
    """The consumers of each pass over the data, by the label of its ApplySavedModel.

    Raises:
      NotCovered: for an operation that `operations` does not have, or not with these settings.
    """
    planner = _Plan()
    traverser = tft_internals.Traverser(planner)
    for leaf in leaves:
        traverser.visit_value_node(leaf)
    return planner.passes


class _Plan(tft_internals.Visitor):
    def __init__(self) -> None:
        self.passes: dict[str, list[Feed]] = {}

    def validate_value(self, value: Any) -> None:
        pass

    def visit(self, operation: Any, inputs: tuple[_Seen, ...]) -> tuple[_Seen, ...]:
        _check(operation)
        if isinstance(operation, beam_nodes.ApplySavedModel):
            self.passes[operation.label] = []
        for parent in inputs:
            self._feed(operation, parent)
        return (_Seen(operation, inputs),) * operation.num_outputs

    def _feed(self, operation: Any, parent: _Seen) -> None:
        """Adds the operation if it reads rows of tensors; only known ones may."""
        if isinstance(parent.operation, beam_nodes.ApplySavedModel):
            if isinstance(operation, analyzer_nodes.PackedCombineAccumulate):
                self.passes[parent.operation.label].append(Feed(operation, ()))
            elif not isinstance(operation, beam_nodes.ExtractFromDict):
                raise NotCovered(f"{type(operation).__name__} reads rows")
        elif _reads_rows(parent):
            if not isinstance(operation, tuple(REDUCES)):
                raise NotCovered(f"{type(operation).__name__} reads rows")
            keys = parent.operation.keys
            self.passes[parent.inputs[0].operation.label].append(
                Feed(operation, keys if isinstance(keys, tuple) else (keys,))
            )


def _reads_rows(seen: _Seen) -> bool:
    return isinstance(seen.operation, beam_nodes.ExtractFromDict) and isinstance(
        seen.inputs[0].operation, beam_nodes.ApplySavedModel
    )


def _check(operation: Any) -> None:
    name = type(operation).__name__
    if type(operation) not in IMPLEMENTATIONS:
        what = getattr(operation, "ptransform", None)
        raise NotCovered(f"{name}{f' ({type(what).__name__})' if what is not None else ''}")
    ordering = getattr(operation, "vocab_ordering_type", tft_internals.FREQUENCY)
    if ordering != tft_internals.FREQUENCY:
        raise NotCovered("a vocabulary that is weighted or ordered by its label")
    if getattr(operation, "key_fn", None) is not None:
        raise NotCovered("a vocabulary with key_fn (coverage by key)")
