"""The Trainer's run_fn on the flights of 2013: rows with their graph, a run, and the comparison of two results."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

import flight_events as flights

from noria.components import example_file, journal
from noria.components.transform import executor
from noria.components.transform.request import Request
from noria.schemas import loader
from noria.schemas.list_columns import as_lists

from . import EXAMPLES, ROOT

LABEL = flights.LABEL
SCHEMA = EXAMPLES / "flights" / "schema.pbtxt"
PREPROCESSING = "flight_features.preprocessing_fn"
WEEK = 7 * 24 * 3600
START = 1356998400  # 2013-01-01 UTC
# The flights' features, and two that a refresh cannot carry on a straight line: buckets, and gaps filled with
# the mean.
BUCKETED = """
import tensorflow_transform as tft
import flight_features as flights
from noria.preprocessing import features
from noria.preprocessing.features import tf

def preprocessing_fn(inputs):
    outputs = flights.preprocessing_fn(inputs)
    outputs["bucket"] = features.bucket(inputs["sched_dep_minutes"], 10)
    gust, gone = features.dense(inputs["wind_gust"], 0.0), features.missing(inputs["wind_gust"])
    mean = tft.mean(inputs["wind_gust"])
    outputs["gust_filled"] = tft.scale_to_z_score(tf.where(gone > 0, tf.cast(mean, tf.float32), gust))
    return outputs
"""


def week(first: int, last: int) -> pa.Table:
    """Labelled flights scheduled in weeks first..last of 2013; week 1 starts on January 1st."""
    table = flights.table()
    number = pc.add(pc.divide(pc.subtract(table["time_hour"], START), WEEK), 1)
    chosen = pc.and_(pc.greater_equal(number, first), pc.less_equal(number, last))
    return table.filter(pc.and_(chosen, pc.is_valid(table[LABEL]))).combine_chunks()


def lay_out(
    folder: Path,
    first: int,
    last: int,
    take: int | None = None,
    preprocessing: str = PREPROCESSING,
    project: str = "",
) -> Path:
    """Raw and transformed examples of some weeks, a fifth of the last week held out as eval, with their graph.

    Writes raw/Split-*/, transformed/Split-*/ and graph/; nothing if that is done.

    Args:
      folder: where to.
      first: first week.
      last: last week.
      take: rows of each split at most, evenly from all of it.
      preprocessing: import path of the preprocessing_fn.
      project: folder in which it is looked for first.
    """
    if (folder / "done").exists():
        return folder
    table, newest = week(first, last), week(last, last)
    held_out = np.random.default_rng(1).random(len(newest)) < 0.2
    train = table.slice(0, len(table) - len(newest))
    splits = {"train": pa.concat_tables([train, newest.filter(~held_out)]), "eval": newest.filter(held_out)}
    for split, rows in splits.items():
        file = folder / "raw" / f"Split-{split}" / f"span-{last:08d}-00000-of-00001.gz"
        with example_file.create(file) as writer:
            if take:
                rows = rows.take(np.linspace(0, len(rows) - 1, min(take, len(rows))).astype(np.int64))
            for batch in rows.combine_chunks().to_batches():
                writer.write(as_lists(batch))
    request = Request(
        examples=str(folder / "raw"),
        splits=list(splits),
        schema=loader.load(SCHEMA),
        champion=None,
        verdict="ok",
        graph=str(folder / "graph"),
        transformed=str(folder / "transformed"),
        preprocessing=preprocessing,
        label=LABEL,
        project=project,
    )
    with journal.stage("Transform") as stage:
        executor.transform(request, stage)
    (folder / "done").touch()
    return folder


def train(
    data: Path,
    out: Path,
    settings: dict[str, Any],
    champion: Path | None = None,
    graph: Path | None = None,
    **config: Any,
) -> Path:
    """Runs the Trainer's run_fn in this process; gives the model's folder. `config` adds to its custom_config."""
    from tfx.components.trainer.fn_args_utils import FnArgs

    from noria.components.trainer.run_fn import run_fn

    config |= {
        "settings": {"label": LABEL, **settings},
        "raw_examples": [str(data / "raw" / "Split-train" / "*")],
    }
    if champion is not None:
        config |= {"champion": str(champion), "version": 1}
    run_fn(
        FnArgs(
            train_files=[str(data / "transformed" / "Split-train" / "*")],
            eval_files=[str(data / "transformed" / "Split-eval" / "*")],
            transform_graph_path=str(graph or data / "graph"),
            serving_model_dir=str(out / "Format-Serving"),
            model_run_dir=str(out / "run"),
            custom_config=config,
        )
    )
    return out


def publish(model: Path, graph: Path) -> Path:
    """Puts the transform graph beside the model, as the registry does."""
    shutil.copytree(graph, model / "transform_graph", dirs_exist_ok=True)
    return model


def differences(one: Path, other: Path) -> dict[str, float]:
    """Largest absolute difference of two checkpoints' weights and slots."""
    from noria.components.trainer import checkpoint

    a, b = (checkpoint.load(folder / "checkpoint") for folder in (one, other))
    assert a.step == b.step, (a.step, b.step)
    assert a.examples_seen == b.examples_seen
    found = {}
    for kind in ("variables", "first", "second"):
        mine, theirs = getattr(a, kind), getattr(b, kind)
        assert mine.keys() == theirs.keys()
        found[kind] = max(float(np.abs(mine[name] - theirs[name]).max()) for name in mine)
    return found


def continuity(
    data: Path, work: Path, settings: dict[str, Any], steps: int, fresh: bool = True
) -> dict[str, float]:
    """The comparison for one family; `fresh`: the second half in a new process."""
    half = {**settings, "steps": steps // 2, "early_stop": None}
    whole = train(data, work / "whole", {**half, "steps": steps // 2 * 2})
    first = publish(train(data, work / "first", half), data / "graph")
    second = (_train_elsewhere if fresh else train)(data, work / "second", half, champion=first)
    return differences(whole, second)


def _train_elsewhere(data: Path, out: Path, settings: dict[str, Any], champion: Path) -> Path:
    """`train` in a new process."""
    arguments = [str(data), str(out), json.dumps(settings), str(champion)]
    command = [sys.executable, "-m", "tests.helpers.training", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)
    return out


if __name__ == "__main__":
    data, out, settings, champion = sys.argv[1:]
    train(Path(data), Path(out), json.loads(settings), Path(champion))
