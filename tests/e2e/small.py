"""A small project: a few hundred real flights a week, with features that no installed package has."""

import textwrap
from pathlib import Path
from typing import Any

import flight_events as flights
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.helpers.project import Project, flights_project

WEEKS = 3
EVERY = 8  # one flight of eight: 750 a week

FEATURES = textwrap.dedent(
    """
    import tensorflow as tf

    import flight_features as flights


    def _night(departure):
        return tf.cast((departure < 6 * 60) | (departure > 21 * 60), tf.float32)


    def preprocessing_fn(inputs):
        outputs = flights.preprocessing_fn(inputs)
        departure = inputs["sched_dep_minutes"]
        if isinstance(departure, tf.sparse.SparseTensor):
            departure = tf.squeeze(tf.sparse.to_dense(departure, default_value=-1), axis=1)
        outputs["night"] = _night(departure)
        return outputs
    """
)


def small_project(folder: Path, weeks: int = WEEKS, **changes: Any) -> Project:
    """The first weeks' flights, one of eight; five steps a run; every version is blessed, however bad it is."""
    (folder / "my_features.py").write_text(FEATURES)
    pq.write_table(_flights(weeks), folder / "flights.parquet")
    settings: dict[str, Any] = {
        "data": {"source": "flights.parquet"},
        "preprocessing": "my_features.preprocessing_fn",
        "window": {"first": 2},
        "trainer": {"steps": 5},
        "gates": {
            "model": {
                "metrics": {"auc": {"min": 0.0}, "log_loss": {"max": 10.0}},
                "slices": ["origin"],
                "slice_change": None,
            }
        },
    }
    return flights_project(folder, **{**settings, **changes})


def _flights(weeks: int) -> pa.Table:
    table = flights.table()
    start = pc.min(table["time_hour"]).as_py()
    table = table.filter(pc.less(table["time_hour"], start + weeks * 7 * 86400))
    return table.take(pa.array(range(0, len(table), EVERY)))
