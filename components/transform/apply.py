"""Applies a written transform graph to Examples files, in large batches in this process."""

import threading
from collections.abc import Mapping
from pathlib import Path

from noria.components import example_file
from noria.components.internals.tft import TransformGraph
from noria.components.transform import coverage
from noria.components.transform.example_rows import ExampleRows
from noria.core.files import tree_digests

KEEP_LOADED = 2  # the champion's and the one before; each has its tables in memory

_loaded: dict[str, TransformGraph] = {}
_lock = threading.Lock()


def load(folder: str) -> TransformGraph:
    """Loads a transform graph, unless this process has loaded the same one before, from this folder or another.

    Its tables are filled from the vocabulary files while it is loaded, so the files may be deleted after this.
    Graphs are distinguished by their content. Scope: per Python process; TensorFlow's functions are thread-safe.
    """
    digest = _digest(folder)
    with _lock:
        graph = _loaded.pop(digest, None) or TransformGraph(folder)
        _loaded[digest] = graph
        while len(_loaded) > KEEP_LOADED:
            _loaded.pop(next(iter(_loaded)))
    return graph


def apply(
    graph: TransformGraph, source: ExampleRows, files: Mapping[str, str], sizes: Mapping[str, int]
) -> coverage.Coverage:
    """Transforms files one by one.

    Args:
      graph: the transform graph.
      source: reads the inputs; it may have them in memory from the analysis.
      files: input file to output file; gzip TFRecords of tf.Example.
      sizes: vocabulary size by output feature, to count the rows outside of it.

    Returns:
      The rows, and how many are outside each vocabulary.
    """
    projection = source.projection(graph.columns)
    parts: list[coverage.Coverage] = []
    for path, output in files.items():
        with example_file.create(output, graph.schema) as file:
            for batch in source.large([path], projection):
                transformed = graph.to_record_batch(graph(projection.tensors(batch)))
                parts.append(coverage.count(transformed, sizes))
                file.write(transformed)
    return coverage.total(parts)


def _digest(folder: str) -> str:
    digests = tree_digests(Path(folder))
    return " ".join(f"{name}:{digest}" for name, digest in digests.items() if Path(name).name != "noria.json")
