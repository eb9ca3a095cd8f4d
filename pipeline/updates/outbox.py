"""The outbox: sends each update of the registry to each target, in order, at least once.

    outbox/<kind>-<digest>.json     up to which event of the registry a target has all updates

The registry's log is the queue. The position is written after the target has taken an update, so a process that is
killed between the two sends it again, with the same id. A target that does not answer gets its updates later; the
others do not wait for it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from noria.core import files, locks
from noria.core.errors import DeliveryError, NoriaError, RegistryError
from noria.pipeline.config import Config
from noria.pipeline.updates.messages import cloud_event, update_of
from noria.pipeline.updates.targets import TARGETS
from noria.stores.registry import Registry

__all__ = ["Delivery", "deliver", "problems"]

WAIT = 60.0  # seconds for another process that delivers


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What a target got.

    Attributes:
      target: its name.
      sent: ids of the updates that it took now.
      waiting: how many it has not taken.
      problem: why not; or None.
    """

    target: str
    sent: tuple[int, ...]
    waiting: int = 0
    problem: NoriaError | None = None

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "problem": None if self.problem is None else str(self.problem)}


def deliver(config: Config, *, wait: float = WAIT) -> list[Delivery]:
    """Sends what was not sent yet. A new target gets all updates from the first one on.

    Args:
      config: the project's settings; `updates` names the targets.
      wait: seconds to wait for another process that delivers.

    Returns:
      A delivery for each target.

    Raises:
      LockedError: another process delivers for longer than `wait`.
      RegistryError: an event of the registry is damaged.
    """
    if not config.updates:
        return []
    registry = Registry(config.home_path)
    with locks.hold(registry.home / "outbox", wait=wait, name=".lock"):
        return [_deliver(registry, config, target) for target in config.updates]


def _deliver(registry: Registry, config: Config, target: Mapping[str, Any]) -> Delivery:
    [(kind, given)] = target.items()
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:12]
    path = registry.home / "outbox" / f"{kind}-{digest}.json"
    position = _read(path)
    state = registry.state()
    waiting: list[tuple[int, dict[str, Any], dict[str, Any]]] = []
    last, runs = position["event"], {position["run"]}
    for number, event in registry.log.after(last):
        last = number
        update = update_of(event, state)
        if update is None:
            continue
        if update["change"] == "quarantined":
            # A run is recorded again when it ends, with its times.
            if update["run_id"] in runs:
                continue
            runs.add(update["run_id"])
        waiting.append((number, event, update))
    sent: list[int] = []
    name = kind
    try:
        chosen = TARGETS.find(kind, config.folder)(given, config.folder)
        name = chosen.name
        try:
            for number, event, update in waiting:
                chosen.send(cloud_event(config.name, number, event, update))
                sent.append(number)
                run = update["run_id"] if update["change"] == "quarantined" else position["run"]
                position = {"event": number, "run": run}
                _write(path, position, name)
        finally:
            chosen.close()
        if last > position["event"]:
            _write(path, {**position, "event": last}, name)
    except NoriaError as error:
        return Delivery(name, tuple(sent), len(waiting) - len(sent), error)
    return Delivery(name, tuple(sent))


def problems(deliveries: Iterable[Delivery]) -> list[str]:
    """A sentence for each target that did not take all."""
    return [
        f"{each.target}: {each.waiting} model updates wait: {each.problem.what}"
        for each in deliveries
        if each.problem is not None
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"event": int(found["event"]), "run": found["run"]}
    except FileNotFoundError:
        return {"event": 0, "run": None}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"the position of the outbox cannot be read: {error}",
            where=path,
            next_step="delete it: then the target gets all updates again, with the same ids",
        ) from error


def _write(path: Path, position: dict[str, Any], name: str) -> None:
    with files.explained("the position of the outbox cannot be written", path, DeliveryError):
        files.write_json(path, {**position, "target": name})
