"""TFT's operations, executed in this process; a PCollection is a list of its elements."""

import collections
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noria.components.internals import tft as tft_internals
from noria.components.internals import tft_beam as tft_beam_internals
from noria.components.internals.tft import analyzer_nodes, tf
from noria.components.internals.tft_beam import DatasetKey, beam_nodes
from noria.components.transform.example_rows import ExampleRows
from noria.components.transform.reducers import REDUCES, Feed

Cache = dict[DatasetKey, dict[bytes, list[bytes]]]


@dataclass
class Datasets:
    """The input of an analysis.

    Attributes:
      files: the files of each dataset, such as a span, in order.
      cache: encoded accumulators of datasets that were analysed before, by TFT's cache key.
    """

    files: Mapping[DatasetKey, Sequence[str]]
    cache: Cache = field(default_factory=dict)


class _Pass:
    """The results of a pass, by consumer."""

    def __init__(self, results: dict[str, list[Any]]):
        self.results = results


class Interpreter(tft_internals.Visitor):
    """Executes the operations. The value of a node is the list of its PCollection's elements."""

    def __init__(
        self,
        traced: tft_internals.Traced,
        source: ExampleRows,
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
        outputs = IMPLEMENTATIONS[type(operation)](self, operation, *inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def files(self, key: DatasetKey) -> list[str]:
        if key.is_flattened_dataset_key():
            return [file for files in self.datasets.files.values() for file in files]
        return list(self.datasets.files[key])

    def apply(self, operation: Any, model: list[Any], files: list[Any]) -> _Pass:
        """One pass over the files: every batch is sent to all consumers."""
        feeds = self._passes[operation.label]
        reducers = {feed.operation.label: REDUCES[type(feed.operation)](feed) for feed in feeds}
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


def _create_saved_model(interpreter: Interpreter, operation: Any, *bindings: list[Any]) -> list[Any]:
    bound = tft_internals.replacements([binding for (binding,) in bindings])
    if not tft_beam_internals.is_final(operation):
        return [tft_internals.intermediate_function(interpreter.traced, bound, operation.output_signature)]
    folder = tft_beam_internals.unique_path(interpreter.traced.temp_dir)
    tft_internals.write_saved_model(interpreter.traced, bound, folder)
    return [folder]


def _create_tensor_binding(interpreter: Interpreter, operation: Any, values: list[Any]) -> list[Any]:
    (value,) = values
    return [(operation.tensor_name, operation.dtype_enum, value)]


def _extract_from_dict(interpreter: Interpreter, operation: Any, value: Any) -> Any:
    if isinstance(value, _Pass):  # the pass has the result of its consumer already
        return value
    keys = operation.keys
    return [tuple(item[k] for k in keys) if isinstance(keys, tuple) else item[keys] for item in value]


def _reduced(interpreter: Interpreter, operation: Any, value: _Pass) -> list[Any]:
    return value.results[operation.label]


def _merge(interpreter: Interpreter, operation: Any, accumulators: list[Any]) -> list[Any]:
    return [_merged(operation.combiner, accumulators)]


def _merged(combiner: Any, accumulators: Sequence[Any]) -> Any:
    wrapper = tft_beam_internals.CombinerWrapper(combiner, is_combining_accumulators=True)
    total = wrapper.create_accumulator()
    for accumulator in accumulators:
        total = wrapper.add_input(total, accumulator)
    return wrapper.extract_output(wrapper.compact(total))


def _packed_merge(interpreter: Interpreter, operation: Any, keyed: list[tuple[str, Any]]) -> list[Any]:
    by_key = _grouped(keyed)
    return [{op.label: _merged(op.combiner, by_key.get(op.keys[0], [])) for op in operation.combiners}]


def _merge_per_key(interpreter: Interpreter, operation: Any, keyed: list[tuple[Any, Any]]) -> list[Any]:
    return [(key, _merged(operation.combiner, values)) for key, values in _grouped(keyed).items()]


def _grouped(keyed: Sequence[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = collections.defaultdict(list)
    for key, value in keyed:
        groups[key].append(value)
    return groups


def _format_keys(interpreter: Interpreter, operation: Any, keyed: list[Any]) -> tuple[Any, ...]:
    dtypes = [info.dtype for info in operation.combiner.output_tensor_infos()]
    by_tag = {output.tag: output.value for output in tft_beam_internals.merge_outputs_by_key(keyed, dtypes)}
    return tuple([by_tag[tag]] for tag in ("key", *(str(i) for i in range(len(dtypes)))))


def _format_large(interpreter: Interpreter, operation: Any, keyed: list[Any]) -> list[Any]:
    text = tf.compat.as_str_any
    return [(text(",".join(map(text, values))), key) for key, values in keyed]


def _join_boundaries(interpreter: Interpreter, operation: Any, matrix: list[Any]) -> tuple[Any, ...]:
    return tuple([value] for value in tft_beam_internals.join_boundary_rows(*matrix))


def _extract_outputs(interpreter: Interpreter, operation: Any, outputs: list[Any]) -> tuple[Any, ...]:
    (values,) = outputs
    return tuple([value] for value in values)


def _merge_vocabulary(interpreter: Interpreter, operation: Any, counts: list[tuple[Any, int]]) -> list[Any]:
    total: dict[Any, int] = {}
    for token, count in counts:
        total[token] = total.get(token, 0) + count
    return [(count, token) for token, count in total.items()]


def _prune_vocabulary(interpreter: Interpreter, operation: Any, counts: list[tuple[Any, Any]]) -> list[Any]:
    if operation.frequency_threshold > 0:
        counts = [pair for pair in counts if pair[0] >= operation.frequency_threshold]
    if operation.input_dtype != tf.string.name:
        counts = [(count, tf.compat.as_bytes(tf.compat.as_str_any(token))) for count, token in counts]
    if operation.top_k is not None:
        counts = sorted(counts, reverse=True)[: operation.top_k]
        counts = tft_beam_internals.empty_vocabulary(counts, operation.input_dtype)
    return counts


def _count_vocabulary(interpreter: Interpreter, operation: Any, counts: list[Any]) -> list[Any]:
    return [np.int64(max(len(counts), 1))]


def _reserved_tokens(interpreter: Interpreter, operation: Any) -> list[Any]:
    return [[tft_internals.reserved_tokens(interpreter.traced, operation.name)]]


def _write_vocabulary(
    interpreter: Interpreter, operation: Any, counts: list[Any], *reserved: list[Any]
) -> list[Any]:
    """Orders by descending count and token (or by hash), reserved tokens first, and writes one per line."""
    first = list(reserved[0][0][0]) if reserved else []
    if operation.fingerprint_shuffle:
        rest = sorted(counts, key=lambda pair: hashlib.sha1(pair[1]).digest())
    else:
        rest = sorted(counts, reverse=True)
    taken = set(first)
    ordered = [(-1, token) for token in first] + [pair for pair in rest if pair[1] not in taken]
    ordered = tft_beam_internals.empty_vocabulary(ordered, operation.input_dtype)
    line = tft_beam_internals.count_and_token_to_bytes if operation.store_frequency else _token
    path = os.path.join(interpreter.traced.temp_dir, operation.vocab_filename)
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


def _encode_cache(interpreter: Interpreter, operation: Any, values: list[Any]) -> list[bytes]:
    return [operation.coder.encode_cache(value) for value in values]


def _decode_cache(interpreter: Interpreter, operation: Any) -> list[Any]:
    encoded = interpreter.datasets.cache[operation.dataset_key][operation.cache_key]
    return [operation.coder.decode_cache(value) for value in encoded]


def _flatten(interpreter: Interpreter, operation: Any, *lists: list[Any]) -> list[Any]:
    return [value for values in lists for value in values]


def _flatten_lists(interpreter: Interpreter, operation: Any, lists: list[Any]) -> list[Any]:
    return _flatten(interpreter, operation, *lists)


def _add_key(interpreter: Interpreter, operation: Any, values: list[Any]) -> list[Any]:
    return [(operation.key, value) for value in values]


def _extract_input(interpreter: Interpreter, operation: Any) -> list[Any]:
    return interpreter.files(operation.dataset_key)


IMPLEMENTATIONS: dict[type, Callable[..., Any]] = {
    beam_nodes.CreateSavedModel: _create_saved_model,
    beam_nodes.CreateTensorBinding: _create_tensor_binding,
    beam_nodes.ExtractInputForSavedModel: _extract_input,
    beam_nodes.ApplySavedModel: Interpreter.apply,
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
