"""TFT's analysis in this process: the same graph of operations and the same combiners, without Beam.

TFT turns a preprocessing_fn into a graph of operations (`analysis_graph_builder.build`) and translates each
into a Beam transform. Here a visitor carries them out instead; a PCollection is a list. Each phase is one
pass over the rows, batch by batch: all analyzers of the phase are fed at once and keep only their
accumulators, so memory holds one batch and the accumulators, whatever the number of rows.
"""

import collections
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noria.components.transform import internals
from noria.components.transform.internals import DatasetKey, analyzer_nodes, beam_nodes, tf
from noria.components.transform.source import Source

Cache = dict[DatasetKey, dict[bytes, list[bytes]]]


class NotCovered(Exception):
    """This preprocessing_fn uses an analyzer that only the Beam path has; the message names it."""


@dataclass
class Datasets:
    """What is analysed.

    Attributes:
      files: the files of each dataset (a span, say), in order.
      cache: encoded accumulators of datasets that were analysed before, by TFT's cache key.
    """

    files: Mapping[DatasetKey, Sequence[str]]
    cache: Cache = field(default_factory=dict)


@dataclass
class Analysed:
    """What came out.

    Attributes:
      saved_model: folder of the final SavedModel, TFT's metadata inside.
      cache: new encoded accumulators, for datasets that have none yet.
      passes: over the data; one per phase, and in the first phase one per dataset.
      rows_read: rows that went through an analyzer, per pass summed.
    """

    saved_model: str
    cache: Cache
    passes: int
    rows_read: int


def analyze(traced: internals.Traced, source: Source, datasets: Datasets) -> Analysed:
    """Runs all analyzers of a traced preprocessing_fn and writes the final SavedModel.

    Raises:
      NotCovered: before any row is read, if an analyzer is not one of those below.
    """
    known = {key: _CacheEntries(entries) for key, entries in datasets.cache.items()}
    root, cache_nodes = internals.build(traced, list(datasets.files), known)
    leaves = [node for entries in cache_nodes.values() for node in entries.values()]
    plan = plan_passes([root, *leaves])
    visitor = _Run(traced, source, datasets, plan)
    traverser = internals.Traverser(visitor)
    (saved_model,) = traverser.visit_value_node(root)
    cache = {
        key: {entry: traverser.visit_value_node(node) for entry, node in entries.items()}
        for key, entries in cache_nodes.items()
    }
    return Analysed(saved_model, cache, len(plan), visitor.rows_read)


class _CacheEntries(dict):
    """A dataset's cache entries, as `build` wants to see them."""

    metadata = None


# ---------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Feed:
    """One consumer of a pass: an operation that reduces the tensors under `keys` to an accumulator."""

    operation: Any
    keys: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """A node's output while planning."""

    operation: Any
    inputs: tuple["_Seen", ...]


def plan_passes(leaves: Sequence[internals.ValueNode]) -> dict[str, list[Feed]]:
    """The consumers of each pass over the data, by the label of its ApplySavedModel.

    Raises:
      NotCovered: for an operation that `_Run` does not carry out, or not as asked for.
    """
    planner = _Plan()
    traverser = internals.Traverser(planner)
    for leaf in leaves:
        traverser.visit_value_node(leaf)
    return planner.passes


class _Plan(internals.Visitor):
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
        """Notes the operation if it reads rows of tensors, and nothing else may."""
        if isinstance(parent.operation, beam_nodes.ApplySavedModel):
            if isinstance(operation, analyzer_nodes.PackedCombineAccumulate):
                self.passes[parent.operation.label].append(Feed(operation, ()))
            elif not isinstance(operation, beam_nodes.ExtractFromDict):
                raise NotCovered(f"{type(operation).__name__} reads rows")
        elif _reads_rows(parent):
            if not isinstance(operation, tuple(_REDUCES)):
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
    if type(operation) not in _CARRY_OUT:
        what = getattr(operation, "ptransform", None)
        raise NotCovered(f"{name}{f' ({type(what).__name__})' if what is not None else ''}")
    ordering = getattr(operation, "vocab_ordering_type", internals.FREQUENCY)
    if ordering != internals.FREQUENCY:
        raise NotCovered("a vocabulary that is weighted or ordered by its label")
    if getattr(operation, "key_fn", None) is not None:
        raise NotCovered("a vocabulary with key_fn (coverage by key)")


# ------------------------------------------------------------------------------------------ the reducers


class _Reducer:
    """Folds batches of tensors into an accumulator."""

    def __init__(self, feed: Feed):
        self.keys = feed.keys

    def add(self, tensors: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def result(self) -> list[Any]:
        """The elements of the PCollection that the operation puts out."""
        raise NotImplementedError


class _Combine(_Reducer):
    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._combiner = internals.CombinerWrapper(feed.operation.combiner, is_combining_accumulators=False)
        self._accumulator = self._combiner.create_accumulator()

    def add(self, tensors: Mapping[str, Any]) -> None:
        values = tuple(tensors[key] for key in self.keys)
        self._accumulator = self._combiner.add_input(self._accumulator, values)

    def result(self) -> list[Any]:
        return [self._combiner.extract_output(self._combiner.compact(self._accumulator))]


class _PackedCombine(_Reducer):
    """Several combiners behind one operation; its element is a dict from label to accumulator."""

    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._parts = {
            op.label: (
                tuple(op.keys),
                internals.CombinerWrapper(op.combiner, is_combining_accumulators=False),
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


class _CombinePerKey(_Reducer):
    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._combiner = internals.CombinerWrapper(feed.operation.combiner, is_combining_accumulators=False)
        self._accumulators: dict[Any, Any] = {}

    def add(self, tensors: Mapping[str, Any]) -> None:
        for key, values in internals.split_inputs_by_key(tuple(tensors[name] for name in self.keys)):
            accumulator = self._accumulators.get(key)
            if accumulator is None:
                accumulator = self._combiner.create_accumulator()
            self._accumulators[key] = self._combiner.add_input(accumulator, values)

    def result(self) -> list[Any]:
        combiner = self._combiner
        return [(key, combiner.extract_output(combiner.compact(a))) for key, a in self._accumulators.items()]


class _Vocabulary(_Reducer):
    def __init__(self, feed: Feed):
        super().__init__(feed)
        self._counts: collections.Counter[Any] = collections.Counter()

    def add(self, tensors: Mapping[str, Any]) -> None:
        (tokens,) = (tensors[key] for key in self.keys)
        self._counts.update(tokens.tolist())

    def result(self) -> list[Any]:
        return list(self._counts.items())


_REDUCES = {
    analyzer_nodes.CacheableCombineAccumulate: _Combine,
    analyzer_nodes.PackedCombineAccumulate: _PackedCombine,
    analyzer_nodes.CacheableCombinePerKeyAccumulate: _CombinePerKey,
    analyzer_nodes.VocabularyAccumulate: _Vocabulary,
}


# ----------------------------------------------------------------------------------------------- the run


class _Pass:
    """A pass that is over: what each of its consumers put out."""

    def __init__(self, results: dict[str, list[Any]]):
        self.results = results


class _Run(internals.Visitor):
    """Carries out the operations. The value of a node is the list of its PCollection's elements."""

    def __init__(
        self,
        traced: internals.Traced,
        source: Source,
        datasets: Datasets,
        passes: Mapping[str, list[Feed]],
    ):
        self.traced = traced
        self.datasets = datasets
        self.rows_read = 0
        self._source = source
        self._passes = passes

    def validate_value(self, value: Any) -> None:
        if not isinstance(value, list | _Pass):
            raise TypeError(f"expected a list, got {type(value)}")

    def visit(self, operation: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        outputs = _CARRY_OUT[type(operation)](self, operation, *inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def files(self, key: DatasetKey) -> list[str]:
        if key.is_flattened_dataset_key():
            return [file for files in self.datasets.files.values() for file in files]
        return list(self.datasets.files[key])

    def apply(self, operation: Any, model: list[Any], files: list[Any]) -> _Pass:
        """One pass over the files: every batch goes to all consumers."""
        feeds = self._passes[operation.label]
        reducers = {feed.operation.label: _REDUCES[type(feed.operation)](feed) for feed in feeds}
        (function,) = model
        for batch in self._source.small(files):
            tensors = {
                key: value.numpy() if isinstance(value, tf.Tensor) else value
                for key, value in function(self._source.tensors(batch)).items()
            }
            self.rows_read += batch.num_rows
            for reducer in reducers.values():
                reducer.add(tensors)
        return _Pass({label: reducer.result() for label, reducer in reducers.items()})


def _create_saved_model(run: _Run, operation: Any, *bindings: list[Any]) -> list[Any]:
    bound = internals.replacements([binding for (binding,) in bindings])
    if not internals.is_final(operation):
        return [internals.intermediate_function(run.traced, bound, operation.output_signature)]
    folder = internals.unique_path(run.traced.temp_dir)
    internals.write_saved_model(run.traced, bound, folder)
    return [folder]


def _create_tensor_binding(run: _Run, operation: Any, values: list[Any]) -> list[Any]:
    (value,) = values
    return [(operation.tensor_name, operation.dtype_enum, value)]


def _extract_from_dict(run: _Run, operation: Any, value: Any) -> Any:
    if isinstance(value, _Pass):  # the consumer has been fed during the pass, and finds its result there
        return value
    keys = operation.keys
    return [tuple(item[k] for k in keys) if isinstance(keys, tuple) else item[keys] for item in value]


def _reduced(run: _Run, operation: Any, value: _Pass) -> list[Any]:
    return value.results[operation.label]


def _merge(run: _Run, operation: Any, accumulators: list[Any]) -> list[Any]:
    return [_merged(operation.combiner, accumulators)]


def _merged(combiner: Any, accumulators: Sequence[Any]) -> Any:
    wrapper = internals.CombinerWrapper(combiner, is_combining_accumulators=True)
    total = wrapper.create_accumulator()
    for accumulator in accumulators:
        total = wrapper.add_input(total, accumulator)
    return wrapper.extract_output(wrapper.compact(total))


def _packed_merge(run: _Run, operation: Any, keyed: list[tuple[str, Any]]) -> list[Any]:
    by_key = _grouped(keyed)
    return [{op.label: _merged(op.combiner, by_key.get(op.keys[0], [])) for op in operation.combiners}]


def _merge_per_key(run: _Run, operation: Any, keyed: list[tuple[Any, Any]]) -> list[Any]:
    return [(key, _merged(operation.combiner, values)) for key, values in _grouped(keyed).items()]


def _grouped(keyed: Sequence[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = collections.defaultdict(list)
    for key, value in keyed:
        groups[key].append(value)
    return groups


def _format_keys(run: _Run, operation: Any, keyed: list[Any]) -> tuple[Any, ...]:
    dtypes = [info.dtype for info in operation.combiner.output_tensor_infos()]
    by_tag = {output.tag: output.value for output in internals.merge_outputs_by_key(keyed, dtypes)}
    return tuple([by_tag[tag]] for tag in ("key", *(str(i) for i in range(len(dtypes)))))


def _format_large(run: _Run, operation: Any, keyed: list[Any]) -> list[Any]:
    text = tf.compat.as_str_any
    return [(text(",".join(map(text, values))), key) for key, values in keyed]


def _join_boundaries(run: _Run, operation: Any, matrix: list[Any]) -> tuple[Any, ...]:
    return tuple([value] for value in internals.join_boundary_rows(*matrix))


def _extract_outputs(run: _Run, operation: Any, outputs: list[Any]) -> tuple[Any, ...]:
    (values,) = outputs
    return tuple([value] for value in values)


def _merge_vocabulary(run: _Run, operation: Any, counts: list[tuple[Any, int]]) -> list[Any]:
    total: dict[Any, int] = {}
    for token, count in counts:
        total[token] = total.get(token, 0) + count
    return [(count, token) for token, count in total.items()]


def _prune_vocabulary(run: _Run, operation: Any, counts: list[tuple[Any, Any]]) -> list[Any]:
    if operation.frequency_threshold > 0:
        counts = [pair for pair in counts if pair[0] >= operation.frequency_threshold]
    if operation.input_dtype != tf.string.name:
        counts = [(count, tf.compat.as_bytes(tf.compat.as_str_any(token))) for count, token in counts]
    if operation.top_k is not None:
        counts = sorted(counts, reverse=True)[: operation.top_k]
        counts = internals.empty_vocabulary(counts, operation.input_dtype)
    return counts


def _count_vocabulary(run: _Run, operation: Any, counts: list[Any]) -> list[Any]:
    return [np.int64(max(len(counts), 1))]


def _reserved_tokens(run: _Run, operation: Any) -> list[Any]:
    return [[internals.reserved_tokens(run.traced, operation.name)]]


def _write_vocabulary(run: _Run, operation: Any, counts: list[Any], *reserved: list[Any]) -> list[Any]:
    """Orders by falling count and token (or by hash), reserved tokens first, and writes one per line."""
    first = list(reserved[0][0][0]) if reserved else []
    if operation.fingerprint_shuffle:
        rest = sorted(counts, key=lambda pair: hashlib.sha1(pair[1]).digest())
    else:
        rest = sorted(counts, reverse=True)
    taken = set(first)
    ordered = [(-1, token) for token in first] + [pair for pair in rest if pair[1] not in taken]
    ordered = internals.empty_vocabulary(ordered, operation.input_dtype)
    line = internals.count_and_token_to_bytes if operation.store_frequency else _token
    path = os.path.join(run.traced.temp_dir, operation.vocab_filename)
    if operation.file_format == "tfrecord_gzip":
        path += ".tfrecord.gz"
        with tf.io.TFRecordWriter(path, "GZIP") as records:
            for count, token in ordered:
                records.write(line(count, token))
    else:
        with open(path, "wb") as file:
            file.writelines(line(count, token) + b"\n" for count, token in ordered)
    return [np.array(path)]


def _token(count: Any, token: bytes) -> bytes:
    return token


def _encode_cache(run: _Run, operation: Any, values: list[Any]) -> list[bytes]:
    return [operation.coder.encode_cache(value) for value in values]


def _decode_cache(run: _Run, operation: Any) -> list[Any]:
    encoded = run.datasets.cache[operation.dataset_key][operation.cache_key]
    return [operation.coder.decode_cache(value) for value in encoded]


def _flatten(run: _Run, operation: Any, *lists: list[Any]) -> list[Any]:
    return [value for values in lists for value in values]


def _flatten_lists(run: _Run, operation: Any, lists: list[Any]) -> list[Any]:
    return _flatten(run, operation, *lists)


def _add_key(run: _Run, operation: Any, values: list[Any]) -> list[Any]:
    return [(operation.key, value) for value in values]


def _extract_input(run: _Run, operation: Any) -> list[Any]:
    return run.files(operation.dataset_key)


_CARRY_OUT: dict[type, Callable[..., Any]] = {
    beam_nodes.CreateSavedModel: _create_saved_model,
    beam_nodes.CreateTensorBinding: _create_tensor_binding,
    beam_nodes.ExtractInputForSavedModel: _extract_input,
    beam_nodes.ApplySavedModel: _Run.apply,
    beam_nodes.ExtractFromDict: _extract_from_dict,
    beam_nodes.Flatten: _flatten,
    analyzer_nodes.FlattenLists: _flatten_lists,
    analyzer_nodes.AddKey: _add_key,
    analyzer_nodes.CacheableCombineAccumulate: _reduced,
    analyzer_nodes.CacheableCombineMerge: _merge,
    analyzer_nodes.PackedCombineAccumulate: _reduced,
    analyzer_nodes.PackedCombineMerge: _packed_merge,
    analyzer_nodes.ExtractCombineMergeOutputs: _extract_outputs,
    analyzer_nodes.ExtractPackedCombineMergeOutputs: _extract_outputs,
    analyzer_nodes.CacheableCombinePerKeyAccumulate: _reduced,
    analyzer_nodes.CacheableCombinePerKeyMerge: _merge_per_key,
    analyzer_nodes.CacheableCombinePerKeyFormatKeys: _format_keys,
    analyzer_nodes.CacheableCombinePerKeyFormatLarge: _format_large,
    analyzer_nodes.ScaleAndFlattenPerKeyBucketBouandaries: _join_boundaries,
    analyzer_nodes.VocabularyAccumulate: _reduced,
    analyzer_nodes.VocabularyMerge: _merge_vocabulary,
    analyzer_nodes.VocabularyPrune: _prune_vocabulary,
    analyzer_nodes.VocabularyCount: _count_vocabulary,
    analyzer_nodes.VocabularyOrderAndWrite: _write_vocabulary,
    analyzer_nodes.ExtractVocabularyReservedTokens: _reserved_tokens,
    analyzer_nodes.EncodeCache: _encode_cache,
    analyzer_nodes.DecodeCache: _decode_cache,
}
