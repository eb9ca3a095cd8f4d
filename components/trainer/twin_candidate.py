"""The cold twin as a candidate: where its record is clearly better than the champion, a second model continues from it.

The record on the spans that followed says that the twin is better, and the held-out rows are the brake: the run's model
is the one with the least loss there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.components import journal
from noria.components.libraries import tft
from noria.components.trainer import checkpoint
from noria.components.trainer import training_run as runs
from noria.components.trainer.loop import Outcome
from noria.components.trainer.reader import Reader
from noria.components.trainer.training_rows import Window
from noria.components.trainer.training_run import Run
from noria.components.trainer.transform_layer import TransformLayer
from noria.core.errors import WarmStartError


def compete(
    run: Run,
    outcome: Outcome,
    train: Window,
    rows: Reader,
    evaluation: Window,
    graph: tft.TFTransformOutput,
    layer: TransformLayer,
    config: dict[str, Any],
    stage: Any,
    train_one: Callable[..., Outcome],
) -> tuple[Run, Outcome]:
    """Trains the twin on the window, and gives the better one of it and `run`.

    A twin that is no model of today's features is no candidate, with a warning.

    Args:
      run: the run's model so far, trained.
      outcome: how its training ended.
      train: the window; `rows`: its files.
      evaluation: the eval split.
      graph: the run's transform graph; `layer`: the same, loaded.
      config: of the run_fn; `twin` has the folder and the version.
      stage: of the journal.
      train_one: trains a run on the window.
    """
    folder, version = Path(config["twin"]["folder"]), config["twin"]["version"]
    try:
        saved = checkpoint.load(folder / "checkpoint")
        other = runs.build(run.settings, graph, run.strategy, config.get("project"), saved)
        source = {**config, "champion": str(folder), "version": version}
        runs.start(other, train, graph, layer, source, saved)
    except WarmStartError as error:
        journal.logger.warning("Trainer: twin %d is no candidate: %s", version, error.what)
        return run, outcome
    runs.note_labels_and_gaps(other, train, rows, stage)
    ended = train_one(other, logs=None)
    unit = 1.0
    if run.settings.task == "regression":  # the run's unit, as each has its own
        unit = (float(other.network.output_scale[0]) / float(run.network.output_scale[0])) ** 2
    losses = {
        "champion": run.machine.loop.served_loss(evaluation),
        "twin": other.machine.loop.served_loss(evaluation) * unit,
    }
    trained = run.report["examples_trained"] + other.report["examples_trained"]
    best = min(losses, key=lambda name: losses[name])
    if best == "twin":
        other.candidates, other.records = run.candidates, run.records
        other.report |= {key: run.report[key] for key in ("rates", "rescue") if key in run.report}
        run, outcome = other, ended
    run.report |= {
        "twin": {"version": version, "candidates": losses, "chosen": best},
        "examples_trained": trained,
    }
    journal.logger.info(
        "Trainer: twin %d has a better record than the champion; on held-out rows the model that continues from the "
        "champion has a loss of %.4f, the one from the twin %.4f: that from the %s is taken",
        *(version, losses["champion"], losses["twin"], best),
    )
    stage.note(twin=best)
    return run, outcome
