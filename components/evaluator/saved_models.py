"""SavedModels to judge with: loaded once per graph and process, their weights read again for each run.

Loading takes half a second, nearly all of it for the graph. In a resident process the challenger's graph is most
often the champion's, and the next run's too: then the weights alone are read into a model that is loaded already, as
TensorFlow's own loader reads them. A test compares the predictions.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from noria.components import saved_model
from noria.core.errors import GateError

# Champion and challenger.
_KEPT = 2


@dataclasses.dataclass(frozen=True)
class _Digests:
    """Of a SavedModel without its weights, and of all of it."""

    graph: str
    content: str


@dataclasses.dataclass
class _Loaded:
    """A model in memory, and what was read into it."""

    digests: _Digests
    model: Any


_idle: list[_Loaded] = []  # last used first
_lock = threading.Lock()


@contextlib.contextmanager
def opened(folders: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """Gives `serving_default` of each SavedModel, by name; they hold these weights until the block ends.

    The keys are digests of the files and not paths: each run finds the same champion in another folder.

    Raises:
      GateError: no SavedModel, one that does not load, or one without the signature.
    """
    held: dict[str, _Loaded] = {}
    try:
        wanted = {name: _digests(folder) for name, folder in folders.items()}
        with _lock:
            for part in ("content", "graph"):  # those that need no reading are not to be written over
                for name in wanted.keys() - held.keys():
                    digest = getattr(wanted[name], part)
                    found = next((one for one in _idle if getattr(one.digests, part) == digest), None)
                    if found is not None:
                        _idle.remove(found)
                        held[name] = found
        for name, folder in folders.items():
            held[name] = _read(held.pop(name, None), folder, wanted[name])
        yield {name: _signature(held[name].model, folder) for name, folder in folders.items()}
    finally:
        with _lock:
            _idle[:0] = held.values()
            del _idle[_KEPT:]


def _digests(folder: Path) -> _Digests:
    if not (folder / "saved_model.pb").is_file():
        raise GateError("there is no saved_model.pb", where=folder)
    return _Digests(saved_model.digest(folder, variables=False), saved_model.digest(folder))


def _read(loaded: _Loaded | None, folder: Path, digests: _Digests) -> _Loaded:
    """The model of a folder, in a model of the same graph if there is one."""
    if loaded is not None and loaded.digests == digests:
        return loaded
    try:
        if loaded is not None:
            status = tf.train.Checkpoint(root=loaded.model).read(str(folder / "variables" / "variables"))
            status.assert_existing_objects_matched()
            return _Loaded(digests, loaded.model)
        return _Loaded(digests, tf.saved_model.load(str(folder)))
    except Exception as error:  # a damaged or foreign model raises almost anything
        raise GateError(f"the model does not load: {error}", where=folder) from None


def _signature(model: Any, folder: Path) -> Any:
    if "serving_default" not in model.signatures:
        names = ", ".join(sorted(model.signatures)) or "none"
        raise GateError(f"the model must have the signature serving_default; it has {names}", where=folder)
    return model.signatures["serving_default"]
