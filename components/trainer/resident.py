"""What a resident process keeps of its last run: the model, the optimizer and the traced train loop.

Building and tracing take as long as a few hundred steps, and a warm run assigns every variable and every slot
anyway. So a warm run of the same settings over the same features takes up what the last run left; one that starts
any variable anew (a cold run, `reset`) builds afresh, for its initial values.
"""

import dataclasses
import threading
from collections.abc import Callable, Hashable
from typing import Any

from noria.components.trainer.adam import Adam
from noria.components.trainer.loop import Loop
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.network import Network
from noria.components.trainer.settings import Settings


@dataclasses.dataclass
class Machine:
    """A model with its optimizer and its loop, outside any strategy's scope."""

    network: Network
    adam: Adam
    loop: Loop


_kept: dict[Hashable, Machine] = {}  # at most one
_lock = threading.Lock()


def key(settings: Settings, features: Features, build_model: Callable[..., Any]) -> Hashable:
    """What must be equal; a user's `build_model` is another function after an edit."""
    return settings, features, build_model


def take(key: Hashable) -> Machine | None:
    """The last run's machine, if it is the same; it is the caller's from here on, until `keep`."""
    with _lock:
        return _kept.pop(key, None)


def keep(key: Hashable, machine: Machine) -> None:
    """Leaves a machine, whose run has succeeded, to the next run; the one before is let go."""
    with _lock:
        _kept.clear()
        _kept[key] = machine
