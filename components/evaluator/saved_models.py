"""SavedModels to judge with: each graph is loaded once per process, and holds the weights of the model that is asked.

Loading takes half a second, or several for a table of 1,500 columns, nearly all of it for the graph. Most often the
challenger's graph is the champion's, and the next run's too. So models of one graph share what is loaded: their weights
alone are read, as TensorFlow's own loader reads them, and take turns in it. A test compares the predictions.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from noria.components import saved_model
from noria.core.errors import GateError

# Of a champion and a challenger that differ.
_KEPT = 2


@dataclasses.dataclass
class _Graph:
    """A model in memory, whose weights change.

    Attributes:
      digest: of the SavedModel without its weights.
      model: what `tf.saved_model.load` gives.
      content: digest of the SavedModel whose weights it holds.
      weights: by content, where several models take turns.
    """

    digest: str
    model: Any
    content: str
    weights: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)

    def read(self, folder: Path, content: str) -> None:
        """Reads the weights of a SavedModel with this graph, unless it holds them."""
        if content != self.content:
            status = tf.train.Checkpoint(root=self.model).read(str(folder / "variables" / "variables"))
            status.assert_existing_objects_matched()
            self.content = content

    def remember(self) -> None:
        """Copies the weights that it holds, for `hold`."""
        self.weights[self.content] = [variable.numpy() for variable in self._variables()]

    def hold(self, content: str) -> None:
        """Holds weights that are remembered."""
        if content != self.content:
            for variable, value in zip(self._variables(), self.weights[content], strict=True):
                variable.assign(value)
            self.content = content

    def _variables(self) -> list[tf.Variable]:
        found = tf.train.TrackableView(self.model).descendants()
        return [one for one in found if isinstance(one, tf.Variable)]


_idle: list[_Graph] = []  # last used first
_lock = threading.Lock()


@contextlib.contextmanager
def opened(folders: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """Gives `serving_default` of each SavedModel, by name, a function of `examples`; only within the block.

    The keys are digests of the files and not paths: each run finds the same champion in another folder.

    Raises:
      GateError: no SavedModel, one that does not load, or one without the signature.
    """
    held: dict[str, _Graph] = {}
    try:
        contents: dict[str, str] = {}
        by_graph: dict[str, dict[str, Path]] = {}
        for name, folder in folders.items():
            digest, contents[name] = _digests(folder)
            by_graph.setdefault(digest, {})[contents[name]] = folder
        for digest, models in by_graph.items():
            held[digest] = _open(digest, models)
        graphs = {content: held[digest] for digest, models in by_graph.items() for content in models}
        yield {
            name: _Model(graphs[contents[name]], contents[name], folder) for name, folder in folders.items()
        }
    finally:
        for graph in held.values():
            graph.weights.clear()
        with _lock:
            _idle[:0] = held.values()
            del _idle[_KEPT:]


def _digests(folder: Path) -> tuple[str, str]:
    """Of a SavedModel without its weights, and of all of it."""
    if not (folder / "saved_model.pb").is_file():
        raise GateError("there is no saved_model.pb", where=folder)
    return saved_model.digest(folder, variables=False), saved_model.digest(folder)


def _open(digest: str, models: Mapping[str, Path]) -> _Graph:
    """The graph of some SavedModels, folders by content, ready to hold the weights of each."""
    with _lock:
        graph = next((one for one in _idle if one.digest == digest), None)
        if graph is not None:
            _idle.remove(graph)
    for content, folder in models.items():
        try:
            if graph is None:
                graph = _Graph(digest, tf.saved_model.load(str(folder)), content)
            graph.read(folder, content)
        except Exception as error:  # a damaged or foreign model raises almost anything
            raise GateError(f"the model does not load: {error}", where=folder) from None
        if len(models) > 1:
            graph.remember()
    assert graph is not None, "there is a model"
    return graph


class _Model:
    """`serving_default` of a graph with the weights of one of its models."""

    def __init__(self, graph: _Graph, content: str, folder: Path):
        self._graph, self._content = graph, content
        self._signature = _signature(graph.model, folder)

    def __call__(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        self._graph.hold(self._content)
        return self._signature(examples=examples)


def _signature(model: Any, folder: Path) -> Any:
    if "serving_default" not in model.signatures:
        names = ", ".join(sorted(model.signatures)) or "none"
        raise GateError(f"the model must have the signature serving_default; it has {names}", where=folder)
    return model.signatures["serving_default"]
