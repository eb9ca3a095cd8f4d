"""One run of the Trainer: its model, the state that it starts from, and its training."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noria.components import journal
from noria.components.internals.tft import TransformOutput
from noria.components.libraries import tf, tft
from noria.components.trainer import (
    base_rate,
    batches,
    checkpoint,
    graphs,
    keras_model,
    normalization,
    resident,
    strategy,
    tensorboard,
    warm_start,
)
from noria.components.trainer.adam import Adam
from noria.components.trainer.families import FAMILIES, Family
from noria.components.trainer.loop import Loop, Outcome
from noria.components.trainer.model_inputs import Features, read_features
from noria.components.trainer.network import Network
from noria.components.trainer.reader import Reader
from noria.components.trainer.settings import Settings
from noria.components.trainer.training_rows import Window
from noria.components.trainer.transform_layer import TransformLayer
from noria.core import files
from noria.core.code_digest import code_digest

SAMPLED_ROWS = 32_768  # of a window, evenly from all of it: what the scales of numbers are checked on


@dataclasses.dataclass
class Run:
    """One run of the Trainer, while it works."""

    settings: Settings
    features: Features
    family: Family
    machine: resident.Machine
    strategy: Any
    report: dict[str, Any]  # what becomes warm_start.json
    recipe: str  # what the serving graph is made from
    start: int = 0
    examples_seen: int = 0
    origin: int = 0
    first_rate: float = 0.0
    window: str = ""
    load: Callable[[checkpoint.Checkpoint], warm_start.Report] | None = None  # sets a champion's state
    candidates: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # as in the checkpoint
    records: dict[str, float] = dataclasses.field(default_factory=dict)
    skill: float | None = None

    @property
    def network(self) -> Network:
        return self.machine.network

    @property
    def adam(self) -> Adam:
        return self.machine.adam


def build(
    settings: Settings,
    graph: tft.TFTransformOutput,
    distribution: Any,
    project: str | None,
    saved: checkpoint.Checkpoint | None,
) -> Run:
    """The run, with the machine that a resident process has kept for it, or a new one."""
    features = read_features(graph, settings.label, settings.embedding_cap)
    if saved is not None:
        features = features.keep_widths(warm_start.check_same_model(saved, features, settings))
    family = FAMILIES.find(settings.family, project)
    settings = keras_model.resolved(settings, family())
    key = resident.key(settings, features, family)
    machine = None
    if saved is not None and not settings.reset and settings.strategy == "none":
        machine = resident.take(key)
    if machine is None:
        keras_model.reset_keras(settings)
        with distribution.scope():
            network = Network(features, settings, keras_model.build(features, settings, family()))
            adam = Adam(network.trainable(), settings)
        machine = resident.Machine(network, adam, Loop(network, adam, distribution, settings))
    recipe = _recipe(settings, features, graph, project)
    return Run(settings, features, family(), machine, distribution, {}, recipe)


def _recipe(settings: Settings, features: Features, graph: tft.TFTransformOutput, project: str | None) -> str:
    """Digest of all that decides the serving graph, and of much that does not: what differs is traced again."""
    code = ["noria.components.trainer.run_fn.run_fn", *([settings.family] if "." in settings.family else [])]
    parts = [
        *(code_digest(path, project) for path in code),
        json.dumps([settings.model_dump(mode="json"), features.to_json()], sort_keys=True),
        files.tree_digest(Path(graph.transform_savedmodel_dir)),
        tf.__version__,
        tf.keras.__version__,
    ]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def start(
    run: Run,
    train: Window,
    graph: tft.TFTransformOutput,
    layer: TransformLayer,
    config: dict[str, Any],
    saved: checkpoint.Checkpoint | None,
) -> None:
    """Sets the state that training starts from: the champion's on a warm run."""
    if saved is None:
        start_cold(run, train)
    else:
        _start_warm(run, train, graph, layer, config, saved)
    run.report["since"] = config.get("since")


def start_cold(run: Run, train: Window) -> None:
    """Sets all that a run without a champion knows of its window."""
    run.window = train.digest
    assert run.settings.learning_rate is not None, "`keras_model.resolved` sets it"
    run.first_rate = run.settings.learning_rate
    run.adam.start_schedule(run.first_rate, 0)
    run.network.start_from_labels(np.asarray(train.labels))
    numbers, inputs = _numbers(train), normalization.unscaled(run.features.width)
    for column in range(run.features.width):
        normalization.standardize(inputs, column, numbers[:, column])
    run.network.set_inputs(inputs)
    run.family.fit_numbers(run.network.model, inputs.seen(numbers), list(range(run.features.width)))
    fresh = [
        {"name": name, "shape": list(v.shape), "how": "new", "detail": "cold run"}
        for name, v in run.network.state().items()
    ]
    slots = [
        {"name": name, "shape": list(v.shape), "how": "new", "detail": "cold run"}
        for name, v in run.adam.state().items()
    ]
    names = [{"name": name, "how": "new", "detail": "cold run"} for name in run.features.names]
    run.report = {"mode": "cold", "from_version": None, "transform": "refreshed"}
    run.report |= {"variables": fresh, "optimizer": slots, "features": names}


def _start_warm(
    run: Run,
    train: Window,
    graph: tft.TFTransformOutput,
    layer: TransformLayer,
    config: dict[str, Any],
    saved: checkpoint.Checkpoint,
) -> None:
    run.window = train.digest
    old_features = Features.from_json(saved.features)
    change = _change(graph, layer, old_features, run.features, config)
    numbers, known = _numbers(train), saved.model.get("outputs", run.settings.outputs)

    def load(champion: checkpoint.Checkpoint) -> warm_start.Report:
        parts = run.network, run.adam, run.family, old_features, run.settings, numbers
        taken = warm_start.start(champion, change, *parts)
        if known < run.settings.outputs:
            run.network.add_classes(np.asarray(train.labels), known)
        return taken

    run.load, taken = load, load(saved)
    if known < run.settings.outputs:
        new = run.settings.outputs - known
        journal.logger.warning("Trainer: %d new classes start from their base rate, with weights of 0", new)
    run.candidates, run.records = saved.candidates, saved.records
    run.start, run.examples_seen = saved.step, saved.examples_seen
    same = saved.window == run.window  # training on it continues, with its batches and its learning rate
    run.origin = saved.origin if same else saved.step
    run.first_rate = saved.first_rate if same else run.settings.warm_learning_rates[0]
    run.adam.start_schedule(run.first_rate, run.origin)
    run.report = {"mode": "warm", "from_version": config.get("version"), "transform": change.transform}
    run.report |= {"variables": taken.variables, "optimizer": taken.optimizer, "features": change.features}
    run.report |= {"fresh_inputs": taken.fresh}
    for feature in change.features:
        if feature["how"] == "new":
            journal.logger.warning(
                "Trainer: feature %s lost its meaning: %s", feature["name"], feature["detail"]
            )
    for name, reason in taken.fresh.items():
        journal.logger.warning("Trainer: input %s starts fresh: %s", name, reason)


def _numbers(train: Window) -> np.ndarray:
    """Rows of the numeric matrix, evenly from all of the window: float32 `[n, F]`."""
    stride = -(-train.rows // SAMPLED_ROWS)
    # A copy, as a view would keep its whole block in memory.
    return np.concatenate([block.numeric[::stride].copy() for block in train.blocks()])


def note_labels_and_gaps(run: Run, train: Window, rows: Reader, stage: Any) -> None:
    """Sets the base rate from the newest spans, and reports numbers that are not finite."""
    settings = run.settings
    classes = {"binary": 2, "multiclass": settings.classes, "regression": None}[settings.task]
    rates = base_rate.newest(np.asarray(train.labels), rows.rows, classes)
    share = 0.0 if settings.task == "regression" else settings.base_rate_share
    run.network.set_base_rate(rates)
    run.network.set_base_rate_share(share)
    run.report |= {"base_rate": rates.tolist(), "base_rate_share": share}
    not_finite = rows.not_finite()
    run.report |= {"not_finite": not_finite}
    if not_finite:
        stage.note(not_finite=not_finite)
        for name, count in not_finite.items():
            journal.logger.warning(
                "Trainer: %s is not a finite number in %d rows; they count as 0", name, count
            )


def _change(
    graph: tft.TFTransformOutput,
    layer: TransformLayer,
    old_features: Features,
    features: Features,
    config: dict[str, Any],
) -> graphs.Change:
    """What the run's graph changed since the champion's."""
    old = Path(config["champion"]) / "transform_graph"
    new = Path(graph.transform_savedmodel_dir).parent
    if graphs.same(old, new):
        names = [{"name": name, "how": "identical", "detail": "graph reused"} for name in features.names]
        return graphs.Change("reused", features=names)
    files = sorted(str(f) for pattern in config.get("raw_examples", []) for f in tf.io.gfile.glob(pattern))
    raw = tf.zeros([0], tf.string)
    if files:
        records = tf.data.TFRecordDataset(files, "GZIP", num_parallel_reads=min(8, len(files)))
        raw = next(iter(records.batch(graphs.SAMPLE)), raw)
    champion = TransformOutput(str(old))
    return graphs.compare(champion, graph, old_features, features, raw, layer)


def train(run: Run, rows: Window, evaluation: Window | None, logs: str | None, stage: Any) -> Outcome:
    """Trains on the window as long as the settings say, and adds the outcome to the report.

    Args:
      run: set by `start`.
      rows: the window.
      evaluation: rows that early stop looks at, if it is on.
      logs: folder for TensorBoard's logs; None for none.
      stage: of the journal.
    """
    settings = run.settings
    warm = run.report["mode"] == "warm"
    epochs = settings.warm_epochs if warm else settings.epochs
    steps = settings.steps
    if steps is None:
        least = settings.min_warm_steps if warm else settings.min_steps
        assert least is not None, "`keras_model.resolved` sets it"
        steps = max(least, batches.steps_of(epochs, rows.rows, settings.batch_size))
    with tensorboard.writer(logs if settings.tensorboard and strategy.is_chief(settings) else None) as log:
        outcome = run.machine.loop.train(
            rows,
            evaluation,
            start=run.start,
            origin=run.origin,
            steps=min(steps, settings.max_steps),
            warm=warm,
            note=stage.note,
            log=log,
        )
    # Rows of steps that early stop took back were seen, but the state that is kept never saw them.
    run.examples_seen += (outcome.step - run.start) * settings.batch_size
    run.report |= {"step": outcome.step, "start_step": run.start, "examples_seen": run.examples_seen}
    run.report |= {"examples_trained": (outcome.last_step - run.start) * settings.batch_size}
    run.report |= {"stopped_early": outcome.stopped_early, "last_step": outcome.last_step}
    run.report |= {"checks": outcome.checks, "rows": rows.rows, "path": rows.path}
    run.report |= {"first_rate": run.first_rate}
    return outcome
