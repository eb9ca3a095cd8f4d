"""Operations that reduce rows of tensors to an accumulator, batch by batch, with TFT's own combiners."""

import collections
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noria.components.internals import tft_beam as tft_beam_internals
from noria.components.internals.tft import analyzer_nodes


@dataclass(frozen=True)
class Feed:
    """One consumer of a pass: an operation that reduces the tensors under `keys` to an accumulator."""

    operation: Any
    keys: tuple[str, ...]


class Reducer:
    """Reduces batches of tensors to an accumulator."""

    def __init__(self, feed: Feed):
        self.keys = feed.keys

    def add(self, tensors: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def result(self) -> list[Any]:
        """The elements of the operation's output."""
        raise NotImplementedError


class _Combine(Reducer):
    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._combiner = tft_beam_internals.CombinerWrapper(
            feed.operation.combiner, is_combining_accumulators=False
        )
        self._accumulator = self._combiner.create_accumulator()

    def add(self, tensors: Mapping[str, Any]) -> None:
        values = tuple(tensors[key] for key in self.keys)
        self._accumulator = self._combiner.add_input(self._accumulator, values)

    def result(self) -> list[Any]:
        return [self._combiner.extract_output(self._combiner.compact(self._accumulator))]


class _PackedCombine(Reducer):
    """Several combiners behind one operation; its element is a dict from label to accumulator."""

    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._parts = {
            op.label: (
                tuple(op.keys),
                tft_beam_internals.CombinerWrapper(op.combiner, is_combining_accumulators=False),
            )
            for op in feed.operation.combiners
        }
        self._accumulators = {
            label: combiner.create_accumulator() for label, (_, combiner) in self._parts.items()
        }

    def add(self, tensors: Mapping[str, Any]) -> None:
        for label, (keys, combiner) in self._parts.items():
            values = tuple(tensors[key] for key in keys)
            self._accumulators[label] = combiner.add_input(self._accumulators[label], values)

    def result(self) -> list[Any]:
        return [
            {
                label: combiner.extract_output(combiner.compact(self._accumulators[label]))
                for label, (_, combiner) in self._parts.items()
            }
        ]


class _CombinePerKey(Reducer):
    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._combiner = tft_beam_internals.CombinerWrapper(
            feed.operation.combiner, is_combining_accumulators=False
        )
        self._accumulators: dict[Any, Any] = {}

    def add(self, tensors: Mapping[str, Any]) -> None:
        for key, values in tft_beam_internals.split_inputs_by_key(tuple(tensors[name] for name in self.keys)):
            accumulator = self._accumulators.get(key)
            if accumulator is None:
                accumulator = self._combiner.create_accumulator()
            self._accumulators[key] = self._combiner.add_input(accumulator, values)

    def result(self) -> list[Any]:
        combiner = self._combiner
        return [(key, combiner.extract_output(combiner.compact(a))) for key, a in self._accumulators.items()]


class _Vocabulary(Reducer):
    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._counts: collections.Counter[Any] = collections.Counter()

    def add(self, tensors: Mapping[str, Any]) -> None:
        (tokens,) = (tensors[key] for key in self.keys)
        self._counts.update(tokens.tolist())

    def result(self) -> list[Any]:
        return list(self._counts.items())


REDUCES: dict[type, type[Reducer]] = {
    analyzer_nodes.CacheableCombineAccumulate: _Combine,
    analyzer_nodes.PackedCombineAccumulate: _PackedCombine,
    analyzer_nodes.CacheableCombinePerKeyAccumulate: _CombinePerKey,
    analyzer_nodes.VocabularyAccumulate: _Vocabulary,
}
