"""What a resident process keeps of its last run: the model, the optimizer and the traced train loop.

Building and tracing take as long as a few hundred steps, and a warm run assigns every variable and every slot
anyway. So a warm run with the same settings and features uses what the last run left. A run that needs initial values
(a cold run, `reset`) builds its own.
"""

import dataclasses
import threading
from collections.abc import Hashable

from noria.components.trainer.adam import Adam
from noria.components.trainer.families import Family
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


_machines: dict[Hashable, Machine] = {}  # at most one
_lock = threading.Lock()


def key(settings: Settings, features: Features, family: type[Family]) -> Hashable:
    """What must be equal. A user's family is another class after an edit."""
    return settings, features, family


def take(key: Hashable) -> Machine | None:
    """The last run's machine, if it is the same; it belongs to the caller until `keep`."""
    with _lock:
        return _machines.pop(key, None)


def keep(key: Hashable, machine: Machine) -> None:
    """Leaves the machine of a run that has succeeded to the next run, in place of an older one."""
    with _lock:
        _machines.clear()
        _machines[key] = machine
