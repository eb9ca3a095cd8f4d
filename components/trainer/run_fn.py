"""The default run_fn: a cold run trains from initial weights, a warm run from the champion's state.

reads     fn_args.train_files, eval_files, transform_graph_path, custom_config (see executor.py)
writes    fn_args.serving_model_dir (SavedModel), and beside it checkpoint/ and warm_start.json;
          fn_args.model_run_dir (TensorBoard logs)
"""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from noria.components import journal
from noria.components.keras3 import ensure_keras3
from noria.components.trainer import (
    base_rate,
    batches,
    checkpoint,
    graphs,
    keras_model,
    normalization,
    resident,
    serving,
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
from noria.components.trainer.settings import Settings, read
from noria.components.trainer.training_rows import Window, open_window
from noria.components.trainer.transform_layer import TransformLayer
from noria.core import files
from noria.core.code_digest import code_digest

tf = ensure_keras3()

import tensorflow_transform as tft  # noqa: E402  (after keras3, which says why)

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

    @property
    def network(self) -> Network:
        return self.machine.network

    @property
    def adam(self) -> Adam:
        return self.machine.adam


def run_fn(fn_args: Any) -> None:
    """Trains and exports a model.

    Args:
      fn_args: TFX's FnArgs; `custom_config` holds `settings`, and optionally `champion` (folder),
        `raw_examples` (patterns), `project` and `version`.

    Raises:
      NoriaError: settings, data or a champion that cannot be used; nothing has been published then.
    """
    config = fn_args.custom_config or {}
    settings = read(config.get("settings", {}))
    with _stage(config) as stage:
        clock = _Clock()
        graph = tft.TFTransformOutput(fn_args.transform_graph_path or fn_args.transform_output)
        layer = TransformLayer(graph, settings.label)
        distribution = strategy.create(settings)
        saved = checkpoint.load(Path(config["champion"]) / "checkpoint") if config.get("champion") else None
        run, key = _build(settings, graph, distribution, config.get("project"), saved)
        clock.lap("build")
        # Not the system's folder for temporary files, which may be memory.
        scratch = Path(fn_args.model_run_dir or fn_args.serving_model_dir)
        spec = graph.transformed_feature_spec()
        rows = Reader(fn_args.train_files, spec, run.features, settings)
        train = open_window(rows, scratch)
        evaluation = None
        if settings.early_stop:
            reader = Reader(fn_args.eval_files, spec, run.features, settings)
            evaluation = open_window(reader, scratch)
        clock.lap("read")
        _start(run, train, graph, layer, config, saved)
        _note_labels_and_gaps(run, train, rows, stage)
        stage.note(mode=run.report["mode"], rows=train.rows, path=train.path, start_step=run.start)
        clock.lap("warm_start")
        outcome = _train(run, train, evaluation, fn_args, stage)
        del train, evaluation
        clock.lap("train")
        if strategy.is_chief(distribution):
            exported = _write(run, outcome, layer, Path(fn_args.serving_model_dir), config)
            stage.note(export=exported)
        if settings.strategy == "none":
            resident.keep(key, run.machine)
        clock.lap("export")
        stage.note(step=outcome.step, examples_seen=run.report["examples_seen"], **clock.laps)


def _build(
    settings: Settings,
    graph: tft.TFTransformOutput,
    distribution: Any,
    project: str | None,
    saved: checkpoint.Checkpoint | None,
) -> tuple[Run, Hashable]:
    """The run, and the key that its machine is kept by."""
    features = read_features(graph, settings.label, settings.embedding_cap)
    if saved is not None:
        features = features.keep_widths(warm_start.check_same_model(saved, features, settings))
    family = FAMILIES.find(settings.family, project)
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
    return Run(settings, features, family(), machine, distribution, {}, recipe), key


def _recipe(settings: Settings, features: Features, graph: tft.TFTransformOutput, project: str | None) -> str:
    """Digest of all that decides the serving graph, and of much that does not: what differs is traced again."""
    code = [f"{__name__}.run_fn", *([settings.family] if "." in settings.family else [])]
    parts = [
        *(code_digest(path, project) for path in code),
        json.dumps([settings.model_dump(mode="json"), features.to_json()], sort_keys=True),
        files.tree_digest(Path(graph.transform_savedmodel_dir)),
        tf.__version__,
        tf.keras.__version__,
    ]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def _start(
    run: Run,
    train: Window,
    graph: tft.TFTransformOutput,
    layer: TransformLayer,
    config: dict[str, Any],
    saved: checkpoint.Checkpoint | None,
) -> None:
    """Sets the state that training starts from: the champion's on a warm run."""
    run.window = train.digest
    numbers = _numbers(train)
    if saved is None:
        run.first_rate = run.settings.learning_rate
        run.adam.start_schedule(run.first_rate, 0)
        run.network.start_from_labels(np.asarray(train.labels))
        inputs = normalization.unscaled(run.features.width)
        for column in range(run.features.width):
            normalization.standardize(inputs, column, numbers[:, column])
        run.network.set_inputs(inputs)
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
        return
    old_features = Features.from_json(saved.features)
    change = _change(graph, layer, old_features, run.features, config)
    taken = warm_start.start(
        saved, change, run.network, run.adam, run.family, old_features, run.settings, numbers
    )
    run.start, run.examples_seen = saved.step, saved.examples_seen
    same = saved.window == run.window  # training on it continues, with its batches and its learning rate
    run.origin = saved.origin if same else saved.step
    run.first_rate = saved.first_rate if same else run.settings.warm_learning_rate
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


def _note_labels_and_gaps(run: Run, train: Window, rows: Reader, stage: Any) -> None:
    """Sets the base rate from the newest spans, and reports numbers that are not finite."""
    settings = run.settings
    if settings.task != "regression":
        classes = 2 if settings.task == "binary" else settings.classes
        shares = base_rate.newest(np.asarray(train.labels), rows.rows, classes)
        run.network.set_base_rate(shares)
        run.report |= {"base_rate": shares.tolist(), "base_rate_share": settings.base_rate_share}
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
    champion = tft.TFTransformOutput(str(old))
    return graphs.compare(champion, graph, old_features, features, raw, layer)


def _train(run: Run, train: Any, evaluation: Any, fn_args: Any, stage: Any) -> Outcome:
    settings = run.settings
    warm = run.report["mode"] == "warm"
    epochs = settings.warm_epochs if warm else settings.epochs
    steps = settings.steps
    if steps is None:
        least = settings.min_warm_steps if warm else settings.min_steps
        steps = max(least, batches.steps_of(epochs, train.rows, settings.batch_size))
    logs = fn_args.model_run_dir if settings.tensorboard and strategy.is_chief(run.strategy) else None
    with tensorboard.writer(logs) as log:
        outcome = run.machine.loop.train(
            train,
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
    run.report |= {"stopped_early": outcome.stopped_early, "last_step": outcome.last_step}
    run.report |= {"checks": outcome.checks, "rows": train.rows, "path": train.path}
    run.report |= {"first_rate": run.first_rate}
    return outcome


def _write(run: Run, outcome: Outcome, layer: TransformLayer, folder: Path, config: dict[str, Any]) -> str:
    """Writes checkpoint, warm_start.json and, last, the SavedModel; says how that was made."""
    variables = {name: v.numpy() for name, v in run.network.state().items()}
    slots = {
        kind: {name: slot.numpy() for name, slot in held.items()}
        for kind, held in (("first", run.adam.first), ("second", run.adam.second))
    }
    saved = checkpoint.Checkpoint(
        variables=variables,
        **slots,
        step=outcome.step,
        examples_seen=run.examples_seen,
        origin=run.origin,
        first_rate=run.first_rate,
        window=run.window,
        features=run.features.to_json(),
        model=warm_start.model_kind(run.settings),
        written_by={"tensorflow": tf.__version__, "keras": tf.keras.__version__, "time": int(time.time())},
    )
    root = folder.parent
    root.mkdir(parents=True, exist_ok=True)
    checkpoint.save(root / "checkpoint", saved)
    (root / "warm_start.json").write_text(json.dumps(run.report, indent=1), encoding="utf-8")
    network = run.network
    if run.settings.strategy != "none":  # what is published knows nothing of replicas
        keras_model.reset_keras(run.settings)
        network = Network(
            run.features, run.settings, keras_model.build(run.features, run.settings, run.family)
        )
        for name, variable in network.state().items():
            variable.assign(variables[name])
    champion = Path(config["champion"]) / folder.name if config.get("champion") else None
    return serving.export(network, layer, folder, run.recipe, champion)


@contextlib.contextmanager
def _stage(config: dict[str, Any]) -> Any:
    """The executor's stage if it opened one, else our own (run_fn called by TFX's stock Trainer)."""
    if config.get("stage") is not None:
        yield config["stage"]
        return
    with journal.stage("Trainer") as stage:
        yield stage


class _Clock:
    """Seconds of each part, for the journal."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[f"{name}_seconds"] = round(now - self.last, 3)
        self.last = now
