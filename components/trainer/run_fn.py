"""The default run_fn: a cold run trains from initial weights, a warm run from the champion's state.

reads     fn_args.train_files, eval_files, transform_graph_path, custom_config (see executor.py)
writes    fn_args.serving_model_dir (SavedModel), and beside it checkpoint/ and warm_start.json;
          fn_args.model_run_dir (TensorBoard logs)
"""

import contextlib
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from noria.components import journal
from noria.components.internals.tft import TransformOutput
from noria.components.libraries import tf
from noria.components.trainer import (
    candidates,
    checkpoint,
    export,
    keras_model,
    rescue,
    resident,
    strategy,
    twin_candidate,
    warm_start,
)
from noria.components.trainer import training_run as runs
from noria.components.trainer.loop import Outcome
from noria.components.trainer.network import Network
from noria.components.trainer.reader import Reader
from noria.components.trainer.settings import read
from noria.components.trainer.training_rows import open_window
from noria.components.trainer.training_run import Run
from noria.components.trainer.transform_layer import TransformLayer


def run_fn(fn_args: Any) -> None:
    """Trains and exports a model.

    Args:
      fn_args: TFX's FnArgs; `custom_config` holds `settings`, and optionally `champion` (folder),
        `raw_examples` (patterns), `project`, `version`, `twin` (folder and version) and `graph_of` (folder of a model
        that a cold run does not continue, and whose graph it takes if its own is the same).

    Raises:
      NoriaError: settings, data or a champion that cannot be used; nothing has been published then.
    """
    config = fn_args.custom_config or {}
    settings = read(config.get("settings", {}))
    with _stage(config) as stage:
        clock = _Clock()
        graph = TransformOutput(fn_args.transform_graph_path or fn_args.transform_output)
        layer = TransformLayer(graph, settings.label)
        distribution = strategy.create(settings)
        saved = checkpoint.load(Path(config["champion"]) / "checkpoint") if config.get("champion") else None
        run = runs.build(settings, graph, distribution, config.get("project"), saved)
        clock.lap("build")
        # Not the system's folder for temporary files, which may be memory.
        scratch = Path(fn_args.model_run_dir or fn_args.serving_model_dir)
        spec = graph.transformed_feature_spec()
        rows = Reader(fn_args.train_files, spec, run.features, settings)
        train = open_window(rows, scratch)
        evaluation = None
        if settings.early_stop:
            evaluation = open_window(Reader(fn_args.eval_files, spec, run.features, settings), scratch)
        clock.lap("read")
        runs.start(run, train, graph, layer, config, saved)
        runs.note_labels_and_gaps(run, train, rows, stage)
        stage.note(mode=run.report["mode"], rows=train.rows, path=train.path, start_step=run.start)
        clock.lap("warm_start")
        # A run that continues on its champion's window finds nothing new there.
        new = saved is not None and saved.window != run.window and settings.steps != 0
        alarm = rescue.listen(run, train, rows, saved) if new else None
        train_one = partial(runs.train, rows=train, evaluation=evaluation, stage=stage)
        if alarm is not None and saved is not None:
            candidates.score(run, saved, train, sum(rows.rows[file] for file in rows.newest), alarm)
            outcome = candidates.train(run, stage, train_one, fn_args.model_run_dir)
        else:
            outcome = train_one(run, logs=fn_args.model_run_dir)
        if alarm is not None and alarm.rings(settings):
            if evaluation is None:
                evaluation = open_window(Reader(fn_args.eval_files, spec, run.features, settings), scratch)
            newest = open_window(Reader(rows.newest, spec, run.features, settings), scratch)
            train_cold = partial(train_one, rows=newest, evaluation=evaluation, logs=None)
            run, outcome = rescue.rescue(run, outcome, alarm, newest, evaluation, stage, train_cold)
            contradicted = alarm.contradicts_the_past(run.report["rescue"]["chosen"])
            run.report["since"] = config.get("span" if contradicted else "since")
            del newest, train_cold
        if alarm is not None and config.get("twin"):
            if evaluation is None:
                evaluation = open_window(Reader(fn_args.eval_files, spec, run.features, settings), scratch)
            run, outcome = twin_candidate.compete(
                run, outcome, train, rows, evaluation, graph, layer, config, stage, train_one
            )
        if evaluation is not None:
            run.skill = run.report["skill"] = rescue.skill(run, evaluation)
        del train, evaluation, train_one
        clock.lap("train")
        if strategy.is_chief(settings):
            exported = _write(run, outcome, layer, Path(fn_args.serving_model_dir), config)
            stage.note(export=exported)
        if settings.strategy == "none":
            resident.keep(resident.key(run.settings, run.features, type(run.family)), run.machine)
        clock.lap("export")
        stage.note(step=outcome.step, examples_seen=run.report["examples_seen"], **clock.laps)


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
        candidates=run.candidates,
        records=run.records,
        skill=run.skill,
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
    source = config.get("champion") or config.get("graph_of")
    champion = Path(source) / folder.name if source else None
    return export.export(network, layer, folder, run.recipe, champion)


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
