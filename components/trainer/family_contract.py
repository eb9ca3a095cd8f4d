"""What every model family must do: build, start warm with its function preserved, and export.

A user runs it on a family of the project, from a test or from the command line:

    family_contract.check("my_models.Tower", project="path/to/project")
    python -m noria.components.trainer.family_contract my_models.Tower path/to/project
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from noria.components.libraries import tf
from noria.components.trainer import export, graphs, keras_model, remap, warm_start
from noria.components.trainer.adam import Adam
from noria.components.trainer.checkpoint import Checkpoint
from noria.components.trainer.families import FAMILIES, Family
from noria.components.trainer.model_inputs import Categorical, Features
from noria.components.trainer.network import Network
from noria.components.trainer.settings import Settings
from noria.components.trainer.transform_layer import TransformLayer
from noria.core.errors import ConfigError
from noria.core.tasks import Task

ROWS = 64
TOLERANCE = 1e-5
CLASSES: dict[Task, int] = {"binary": 2, "multiclass": 3, "regression": 2}
OLD = Features((Categorical("city", 4, 0, 3), Categorical("shop", 3, 0, 2)), (("age", 1), ("place", 2)), "y")
NEW = Features((Categorical("city", 5, 0, 3), Categorical("shop", 3, 0, 2)), (("age", 1), ("place", 2)), "y")
CITIES = [b"Aba", b"Bern", b"Cusco"], [b"Dili", b"Cusco", b"Aba", b"Bern"]  # before and after a refresh


def check(name: str, project: Path | str | None = None) -> None:
    """Checks one family for all tasks.

    Args:
      name: the name of one of Noria's families, or the import path of a user's.
      project: the folder of the user's project.

    Raises:
      NoriaError: a check has failed; says which one and for which variable.
    """
    family = FAMILIES.find(name, project)()
    for task, classes in CLASSES.items():
        settings = keras_model.resolved(
            Settings(family=name, task=task, classes=classes, hidden_units=(8, 4), seed=3), family
        )
        check_build(family, settings)
        check_warm_start(family, settings)
        check_fresh_input(family, settings)
        check_export(family, settings)


def check_build(family: Family, settings: Settings) -> None:
    """Two builds give the same names, shapes and initial values."""
    one, other = (_network(family, OLD, settings).state() for _ in range(2))
    _expect(
        list(one) == list(other), f"two builds must name their variables alike, got {list(other)}", settings
    )
    for variable, value in one.items():
        same = np.array_equal(value.numpy(), other[variable].numpy())
        _expect(same, f"two builds must give {variable} the same initial value", settings)


def check_warm_start(family: Family, settings: Settings) -> None:
    """After a refresh (a vocabulary reordered and grown, numbers rescaled) the same rows get the same scores."""
    champion, checkpoint = _champion(family, settings)
    change = graphs.Change(
        "refreshed",
        rows={"city": remap.map_vocabulary(*CITIES, 4, 5)},
        lines={"age": [remap.Line(0.5, 0.25, 0.0)]},
    )
    network = _network(family, NEW, settings)
    adam = Adam(network.trainable(), settings)
    warm_start.start(checkpoint, change, network, adam, family, OLD, settings)
    numeric, ids = _rows()
    moved = ids.copy()
    moved[:, 0] = np.asarray([2, 3, 1, 4])[ids[:, 0]]
    rescaled = numeric.copy()
    rescaled[:, 0] = (numeric[:, 0] - 0.25) / 0.5
    difference = np.abs(_scores(network, rescaled, moved) - _scores(champion, numeric, ids)).max()
    _expect(
        difference <= TOLERANCE,
        f"a warm start must preserve the function, but scores differ by {difference:.2g}",
        settings,
    )


def check_fresh_input(family: Family, settings: Settings) -> None:
    """Where the scale of a number changes too much, the other features keep their function."""
    champion, checkpoint = _champion(family, settings)
    change = graphs.Change("refreshed", lines={"age": [remap.Line(900_000.0, 0.0, 0.0)]})
    network = _network(family, OLD, settings)
    adam = Adam(network.trainable(), settings)
    report = warm_start.start(checkpoint, change, network, adam, family, OLD, settings)
    _expect("age" in report.fresh, "an input whose scale has changed must start fresh", settings)
    if all(family.numeric_rows(name, tuple(v.shape), OLD) is None for name, v in network.state().items()):
        return  # the report says that the family keeps its weights
    numeric, ids = _rows()
    absent = numeric.copy()
    absent[:, 0] = 0
    difference = np.abs(_scores(network, numeric, ids) - _scores(champion, absent, ids)).max()
    _expect(
        difference <= TOLERANCE,
        f"numeric_rows must name all rows that read an input, but scores differ by {difference:.2g}",
        settings,
    )


def check_export(family: Family, settings: Settings) -> None:
    """The SavedModel gives the scores of the network."""
    network, _ = _champion(family, settings)
    numeric, ids = _rows()
    with tempfile.TemporaryDirectory() as folder:
        export.export(network, _Parse(), Path(folder) / "model", "recipe")
        signature = tf.saved_model.load(str(Path(folder) / "model")).signatures["serving_default"]
        served = signature(examples=tf.constant(_examples(numeric, ids)))["score"].numpy()
    difference = np.abs(served - _scores(network, numeric, ids)).max()
    _expect(difference <= TOLERANCE, f"the SavedModel's scores differ by {difference:.2g}", settings)


class _Parse(TransformLayer):
    """In the place of a transform graph: examples that hold transformed features."""

    def __init__(self) -> None:
        pass

    @property
    def trackables(self) -> dict[str, Any]:
        return {}

    @property
    def raw_spec(self) -> dict[str, Any]:  # type: ignore[override]  # the same whenever it is asked for
        spec = {name: tf.io.FixedLenFeature([width], tf.float32) for name, width in OLD.numeric}
        return spec | {feature.name: tf.io.FixedLenFeature([1], tf.int64) for feature in OLD.categorical}

    def transform(self, columns: dict[str, Any]) -> dict[str, Any]:
        return columns


def _network(family: Family, features: Features, settings: Settings) -> Network:
    keras_model.reset_keras(settings)
    return Network(features, settings, keras_model.build(features, settings, family))


def _champion(family: Family, settings: Settings) -> tuple[Network, Checkpoint]:
    """A network whose trainable weights are all random, and its checkpoint."""
    network = _network(family, OLD, settings)
    random = np.random.default_rng(5)
    for variable in network.trainable().values():
        variable.assign(random.normal(0, 0.5, variable.shape))
    adam = Adam(network.trainable(), settings)
    slots = {name: random.random(slot.shape, np.float32) for name, slot in adam.first.items()}
    checkpoint = Checkpoint(
        variables={name: variable.numpy() for name, variable in network.state().items()},
        first=slots,
        second=slots,
        step=1,
        examples_seen=ROWS,
        origin=0,
        first_rate=1e-3,
        window="",
        features=OLD.to_json(),
        model=warm_start.model_kind(settings),
        written_by={},
    )
    return network, checkpoint


def _rows() -> tuple[np.ndarray, np.ndarray]:
    """Transformed rows as matrices."""
    random = np.random.default_rng(7)
    rows = [feature.rows for feature in OLD.categorical]
    return random.normal(0, 0.7, (ROWS, OLD.width)).astype(np.float32), random.integers(
        0, rows, (ROWS, 2), np.int32
    )


def _scores(network: Network, numeric: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return network.scores(tf.constant(numeric), tf.constant(ids)).numpy()


def _examples(numeric: np.ndarray, ids: np.ndarray) -> list[bytes]:
    """The same rows as serialized tf.Examples."""
    found = []
    for numbers, codes in zip(numeric, ids, strict=True):
        features = {
            name: tf.train.Feature(float_list=tf.train.FloatList(value=numbers[columns]))
            for name, columns in OLD.numeric_columns().items()
        }
        for feature, code in zip(OLD.categorical, codes, strict=True):
            features[feature.name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[code]))
        found.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return found


def _expect(holds: bool, what: str, settings: Settings) -> None:
    if not holds:
        raise ConfigError(
            f"{what} (task {settings.task})",
            where=f"config key trainer.family: {settings.family}",
            next_step="noria.components.trainer.families.base describes what a family must do",
        )


if __name__ == "__main__":
    check(*sys.argv[1:])
    sys.stdout.write(f"{sys.argv[1]}: all checks passed\n")
