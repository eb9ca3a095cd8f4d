"""Carries a champion's state into a new network, variable by variable; what cannot be carried is an error."""

import dataclasses
import fnmatch
from typing import Any

import numpy as np

from noria.components.trainer import graphs
from noria.components.trainer.adam import Adam
from noria.components.trainer.checkpoint import Checkpoint
from noria.components.trainer.families import input_names
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.network import NEVER, Network, by_id
from noria.components.trainer.settings import Settings
from noria.core.errors import CarryError

INPUT = tuple(f"noria/input_{name}" for name in ("scale", "shift", "missing", "filled"))


@dataclasses.dataclass
class Carry:
    """What was carried, for carry.json: entries {"name", "shape", "how", "detail"}."""

    variables: list[dict[str, Any]]
    optimizer: list[dict[str, Any]]


def model_facts(settings: Settings) -> dict[str, Any]:
    """What must be the same in champion and challenger for weights to have a meaning in common."""
    return {
        "model": settings.build_model or settings.family,
        "task": settings.task,
        "outputs": settings.outputs,
    }


def check_same_model(checkpoint: Checkpoint, features: Features, settings: Settings) -> Features:
    """Checks that the champion is the same kind of model over the same features; gives its features.

    Raises:
      CarryError: it is not; says what each side has.
    """
    facts = model_facts(settings)
    if checkpoint.model != facts:
        raise CarryError(
            f"the champion is {checkpoint.model}, the config asks for {facts}",
            where="config key trainer",
            next_step="train the new kind of model from nothing with a cold run: noria run --cold",
        )
    old = Features.from_json(checkpoint.features)
    kinds_old = [f.name for f in old.categorical], list(old.numeric)
    kinds_new = [f.name for f in features.categorical], list(features.numeric)
    if kinds_old != kinds_new:
        gone = sorted(set(old.names) - set(features.names))
        added = sorted(set(features.names) - set(old.names))
        changed = "their kinds or widths differ" if not gone and not added else f"new {added}, gone {gone}"
        raise CarryError(
            f"the champion reads other features: {changed}",
            where="preprocessing_fn",
            next_step="train from nothing with a cold run: noria run --cold",
        )
    return old


def carry(
    checkpoint: Checkpoint,
    change: graphs.Change,
    network: Network,
    adam: Adam,
    old_features: Features,
    settings: Settings,
) -> Carry:
    """Puts the champion's state into the network and the optimizer.

    Variables that match a pattern in `settings.reset`, and variables the champion does not have but the
    patterns name, start anew. All values are computed before the first one is assigned.

    Raises:
      CarryError: a variable is missing on one side, or has another shape for no reason that is known.
    """
    resets = settings.reset
    values: list[tuple[Any, np.ndarray]] = []
    found = Carry([], [])
    state = network.state()
    lost = [n for n in checkpoint.variables if n not in state and not _matches(n, resets)]
    if lost:
        raise _error(f"the champion's variables {lost} are not in the new model", lost[0])
    indexed: set[str] = set()
    for name, variable in state.items():
        shape = tuple(variable.shape)
        if _matches(name, resets):
            found.variables.append(_entry(name, shape, "new", "reset, as the config asks"))
            continue
        if name not in checkpoint.variables:
            raise _error(f"the new model's variable {name} {shape} is not in the champion", name)
        old = checkpoint.variables[name]
        feature = by_id(name, shape, network.features)
        if feature is not None:
            indexed.add(feature)
        rows = change.rows.get(feature) if feature is not None else None
        if name in INPUT:
            new, how, detail = _input(name, checkpoint.variables, change, network.features)
        elif rows is not None and old.shape == (_rows(old_features, feature), *shape[1:]):
            new, how, detail = rows.apply(old, settings.new_entries), "remapped", rows.detail
        else:
            new, how, detail = old, "carried", ""
        if new.shape != shape:
            _check_nameless(name, old.shape, shape, old_features, network.features)
            raise _error(f"variable {name} is {old.shape} in the champion and {shape} in the new model", name)
        values.append((variable, new))
        found.variables.append(_entry(name, shape, how, detail))
    _check_indexed(change, indexed, network, resets)
    for slots, kind, old_slots in (
        (adam.first, "m", checkpoint.first),
        (adam.second, "v", checkpoint.second),
    ):
        for name, slot in slots.items():
            shape = tuple(slot.shape)
            if _matches(name, resets):
                found.optimizer.append(_entry(f"{kind}/{name}", shape, "new", "reset, as the config asks"))
                continue
            if name not in old_slots:
                raise _error(f"the champion's checkpoint has no Adam slot {kind}/{name} {shape}", name)
            new, how, detail = old_slots[name], "carried", ""
            feature = by_id(name, shape, network.features)
            rows = change.rows.get(feature) if feature is not None else None
            if rows is not None:
                new, how, detail = rows.apply(new, "zero"), "remapped", f"{rows.detail}; new entries 0"
            if new.shape != shape:
                raise _error(f"Adam slot {kind}/{name} is {new.shape} in the champion and {shape} here", name)
            values.append((slot, new))
            found.optimizer.append(_entry(f"{kind}/{name}", shape, how, detail))
    for variable, new in values:
        variable.assign(new)
    return found


def _input(
    name: str, variables: dict[str, np.ndarray], change: graphs.Change, features: Features
) -> tuple[np.ndarray, str, str]:
    """The champion's input vectors after a refresh: scale' = scale * a, shift' = scale * b + shift."""
    if not change.lines or len(variables[name]) != features.width:
        return variables[name], "carried", ""  # where the shapes differ, the caller says so
    scale, shift, missing, filled = (variables[key].astype(np.float64) for key in INPUT)
    for feature, columns in features.numeric_columns().items():
        lines = change.lines.get(feature, ())
        for column, line in zip(range(columns.start, columns.stop), lines, strict=False):
            if line.missing is not None:
                was, now = line.missing
                saw = filled[column] if was == missing[column] else scale[column] * was + shift[column]
                missing[column], filled[column] = now, saw
            else:
                missing[column] = NEVER
            shift[column] += scale[column] * line.shift
            scale[column] *= line.scale
    composed = dict(zip(INPUT, (scale, shift, missing, filled), strict=True))[name]
    return composed.astype(np.float32), "remapped", f"the numbers of {', '.join(change.lines)} have moved"


def _check_indexed(
    change: graphs.Change, indexed: set[str], network: Network, resets: tuple[str, ...]
) -> None:
    """A vocabulary that moved without a variable that follows it would leave weights on wrong entries."""
    read = input_names(network.model)
    for feature in change.rows:
        unread = feature not in read and "categorical" not in read
        if feature in indexed or unread or all(_matches(name, resets) for name in network.state()):
            continue
        raise _nameless(
            f"the vocabulary of {feature!r} has changed, and no variable is known to follow it", feature
        )


def _check_nameless(
    name: str, old: tuple[int, ...], new: tuple[int, ...], old_features: Features, features: Features
) -> None:
    """A variable with as many rows as a vocabulary, before and now, most likely belongs to it."""
    for was, now in zip(old_features.categorical, features.categorical, strict=True):
        if old[:1] == (was.rows,) and new[:1] == (now.rows,) and old[1:] == new[1:] and was.rows != now.rows:
            raise _nameless(
                f"variable {name} is {old} in the champion and {new} in the new model, as the vocabulary of "
                f"{now.name!r} has gone from {was.rows} ids to {now.rows}",
                now.name,
            )


def _nameless(what: str, feature: str) -> CarryError:
    return CarryError(
        what,
        where="config key trainer.build_model",
        next_step=f"name its layer embedding_{feature}, so that its rows can follow their entries, "
        "or start from nothing with a cold run: noria run --cold",
    )


def _rows(features: Features, name: str | None) -> int:
    return next(feature.rows for feature in features.categorical if feature.name == name)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _entry(name: str, shape: tuple[int, ...], how: str, detail: str) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "how": how, "detail": detail}


def _error(what: str, name: str) -> CarryError:
    return CarryError(
        what,
        where="the champion's checkpoint",
        next_step="train from nothing with a cold run (noria run --cold), or start this variable anew: "
        f"trainer: {{reset: [{name}]}}",
    )
