"""Takes a champion's state over into a new network, variable by variable; what does not fit is an error."""

import dataclasses
import fnmatch
from typing import Any

import numpy as np

from noria.components.trainer import graphs, normalization
from noria.components.trainer.adam import Adam
from noria.components.trainer.checkpoint import Checkpoint
from noria.components.trainer.families import Family
from noria.components.trainer.keras_model import input_names
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.network import Network
from noria.components.trainer.settings import Settings
from noria.core.errors import WarmStartError

INPUT = tuple(f"noria/input_{name}" for name in ("scale", "shift", "missing", "filled"))


@dataclasses.dataclass
class Report:
    """What became of each variable and slot, for warm_start.json: entries {"name", "shape", "how", "detail"}.

    Attributes:
      fresh: why inputs started fresh, by feature.
    """

    variables: list[dict[str, Any]]
    optimizer: list[dict[str, Any]]
    fresh: dict[str, str] = dataclasses.field(default_factory=dict)


def model_kind(settings: Settings) -> dict[str, Any]:
    """What champion and challenger must have in common, so that weights mean the same in both."""
    return {"family": settings.family, "task": settings.task, "outputs": settings.outputs}


def check_same_model(checkpoint: Checkpoint, features: Features, settings: Settings) -> Features:
    """Checks that the champion is the same kind of model over the same features; gives its features.

    Raises:
      WarmStartError: it is not; says what each side has.
    """
    kind = model_kind(settings)
    # Further classes follow the champion's; see `_with_classes`.
    grown = settings.task == "multiclass" and checkpoint.model.get("outputs", 0) < settings.outputs
    if {**checkpoint.model, **({"outputs": settings.outputs} if grown else {})} != kind:
        raise WarmStartError(
            f"the champion is {checkpoint.model}, the config asks for {kind}",
            where="config key trainer",
            next_step="start a cold run for the new family: noria run --cold",
        )
    old = Features.from_json(checkpoint.features)
    kinds_old = [f.name for f in old.categorical], list(old.numeric)
    kinds_new = [f.name for f in features.categorical], list(features.numeric)
    if kinds_old != kinds_new:
        gone = sorted(set(old.names) - set(features.names))
        added = sorted(set(features.names) - set(old.names))
        changed = "their types or widths differ" if not gone and not added else f"new {added}, gone {gone}"
        raise WarmStartError(
            f"the champion reads other features: {changed}",
            where="preprocessing_fn",
            next_step="start a cold run: noria run --cold",
        )
    return old


def start(
    checkpoint: Checkpoint,
    change: graphs.Change,
    network: Network,
    adam: Adam,
    family: Family,
    old_features: Features,
    settings: Settings,
    numbers: np.ndarray | None = None,
) -> Report:
    """Puts the champion's state into the network and the optimizer.

    Variables that match a pattern in `settings.reset` keep their initial values, whether the champion has them or
    not. An input whose line maps no value into the range starts fresh (see normalization.py): the rows of weights and
    slots that read it are 0, so that the rest of the model keeps its function. A class that the champion does not know
    has weights of 0; `Network.add_classes` sets its base rate. All values are computed before the first one is
    assigned.

    Args:
      numbers: the window's numeric matrix, or a part of it, `[n, F]`.

    Raises:
      WarmStartError: a variable is missing on one side, or has another shape for no reason that is known.
    """
    resets = settings.reset
    values: list[tuple[Any, np.ndarray]] = []
    found = Report([], [])
    state = network.state()
    classes = checkpoint.model.get("outputs", settings.outputs), settings.outputs
    lost = [n for n in checkpoint.variables if n not in state and not _matches(n, resets)]
    if lost:
        raise _error(f"the champion's variables {lost} are not in the new model", lost[0])
    inputs = _inputs(checkpoint.variables, change, network.features, numbers)
    fresh = sorted(inputs.fresh) if inputs is not None else []
    forgotten = False
    indexed: set[str] = set()
    for name, variable in state.items():
        shape = tuple(variable.shape)
        if _matches(name, resets):
            found.variables.append(_entry(name, shape, "new", "reset, as the config asks"))
            continue
        if name not in checkpoint.variables:
            raise _error(f"the new model's variable {name} {shape} is not in the champion", name)
        old = _with_classes(checkpoint.variables[name], shape, *classes)
        feature = family.feature_of_rows(name, shape, network.features)
        if feature is not None:
            indexed.add(feature)
        rows = change.rows.get(feature) if feature is not None else None
        if name in INPUT and inputs is not None:
            new = getattr(inputs, name.removeprefix("noria/input_")).astype(np.float32)
            how, detail = (
                ("copied", "") if np.array_equal(new, old) else ("remapped", "follows the new scales")
            )
        elif rows is not None and old.shape == (_rows(old_features, feature), *shape[1:]):
            new, how, detail = rows.apply(old, settings.new_entries), "remapped", rows.detail
        else:
            new, how, detail = old, "copied", ""
        if old.shape != checkpoint.variables[name].shape:
            how, detail = "remapped", f"{detail}; 0 for each new class".removeprefix("; ")
        if new.shape != shape:
            _check_nameless(name, old.shape, shape, old_features, network.features)
            raise _error(f"variable {name} is {old.shape} in the champion and {shape} in the new model", name)
        new, cleared = _forget(family, name, shape, new, fresh, network.features)
        if cleared:
            forgotten, how, detail = True, "remapped", "rows of fresh inputs are 0"
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
            new, how, detail = _with_classes(old_slots[name], shape, *classes), "copied", ""
            if new.shape != old_slots[name].shape:
                how, detail = "remapped", "0 for each new class"
            feature = family.feature_of_rows(name, shape, network.features)
            rows = change.rows.get(feature) if feature is not None else None
            if rows is not None:
                new, how, detail = rows.apply(new, "zero"), "remapped", f"{rows.detail}; new entries 0"
            if new.shape != shape:
                raise _error(f"Adam slot {kind}/{name} is {new.shape} in the champion and {shape} here", name)
            new, cleared = _forget(family, name, shape, new, fresh, network.features)
            if cleared:
                how, detail = "remapped", "rows of fresh inputs are 0"
            values.append((slot, new))
            found.optimizer.append(_entry(f"{kind}/{name}", shape, how, detail))
    for variable, new in values:
        variable.assign(new)
    if inputs is not None and numbers is not None and fresh:
        family.fit_numbers(network.model, inputs.seen(numbers), fresh)
    if inputs is None:
        return found
    kept = (
        "" if forgotten else "; its weights are kept, as the family does not name the rows that read numbers"
    )
    for column, name in normalization.names(fresh, network.features.numeric_columns()).items():
        found.fresh[name] = inputs.fresh[column] + kept
    return found


def _with_classes(array: np.ndarray, shape: tuple[int, ...], old: int, new: int) -> np.ndarray:
    """A variable or slot whose last axis counts the classes, with 0 for the new ones; others as they are."""
    if old == new or array.shape[-1:] != (old,) or shape[-1:] != (new,):
        return array
    return np.concatenate([array, np.zeros((*array.shape[:-1], new - old), array.dtype)], -1)


def _inputs(
    variables: dict[str, np.ndarray], change: graphs.Change, features: Features, rows: np.ndarray | None
) -> normalization.Inputs | None:
    """The champion's input vectors over the run's graph; None where their shapes differ, which the caller reports."""
    scale, shift, missing, filled = vectors = [variables[name].astype(np.float64) for name in INPUT]
    if any(vector.shape != (features.width,) for vector in vectors):
        return None
    layout = features.numeric_columns()
    lines = {
        layout[feature].start + place: line
        for feature, found in change.lines.items()
        for place, line in enumerate(found)
    }
    rows = np.zeros((0, features.width)) if rows is None else rows
    return normalization.follow(normalization.Inputs(scale, shift, missing, filled), lines, rows)


def _forget(
    family: Family, name: str, shape: tuple[int, ...], new: np.ndarray, fresh: list[int], features: Features
) -> tuple[np.ndarray, bool]:
    """The variable or slot with 0 in the rows that read fresh inputs, and whether it has such rows."""
    rows = family.numeric_rows(name, shape, features) if fresh else None
    if rows is None:
        return new, False
    new = new.copy()
    new[rows[fresh].ravel()] = 0
    return new, True


def _check_indexed(
    change: graphs.Change, indexed: set[str], network: Network, resets: tuple[str, ...]
) -> None:
    """A changed vocabulary without a variable that follows it would leave weights on wrong entries."""
    read = input_names(network.model)
    for feature in change.rows:
        unread = feature not in read and "categorical" not in read
        if feature in indexed or unread or all(_matches(name, resets) for name in network.state()):
            continue
        raise _nameless(
            f"the vocabulary of {feature!r} has changed, and no variable is known to depend on it", feature
        )


def _check_nameless(
    name: str, old: tuple[int, ...], new: tuple[int, ...], old_features: Features, features: Features
) -> None:
    """A variable with as many rows as a vocabulary, before and now, most likely belongs to it."""
    for was, now in zip(old_features.categorical, features.categorical, strict=True):
        if old[:1] == (was.rows,) and new[:1] == (now.rows,) and old[1:] == new[1:] and was.rows != now.rows:
            raise _nameless(
                f"variable {name} is {old} in the champion and {new} in the new model, as the vocabulary of "
                f"{now.name!r} has changed from {was.rows} ids to {now.rows}",
                now.name,
            )


def _nameless(what: str, feature: str) -> WarmStartError:
    return WarmStartError(
        what,
        where="config key trainer.family",
        next_step=f"name its layer embedding_{feature}, so that its rows can follow their entries, "
        "or start a cold run: noria run --cold",
    )


def _rows(features: Features, name: str | None) -> int:
    return next(feature.rows for feature in features.categorical if feature.name == name)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _entry(name: str, shape: tuple[int, ...], how: str, detail: str) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "how": how, "detail": detail}


def _error(what: str, name: str) -> WarmStartError:
    return WarmStartError(
        what,
        where="the champion's checkpoint",
        next_step="start a cold run (noria run --cold), or initialize this variable: "
        f"trainer: {{reset: [{name}]}}",
    )
