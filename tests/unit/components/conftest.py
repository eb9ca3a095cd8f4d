"""What the Trainer's tests train on."""

from pathlib import Path

import pytest

# The flights' features, and two that a refresh cannot carry on a straight line: buckets, and gaps filled with
# the mean.
PREPROCESSING = """
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


@pytest.fixture(scope="session")
def bucketed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a project whose preprocessing_fn is `bucketed.preprocessing_fn`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "bucketed.py").write_text(PREPROCESSING)
    return str(folder)


@pytest.fixture(scope="session")
def week1(tmp_path_factory: pytest.TempPathFactory, bucketed: str) -> Path:
    """1,500 flights of the first week, with their own graph."""
    from benchmarks import continuity

    folder = tmp_path_factory.mktemp("week1")
    return continuity.lay_out(folder, 1, 1, 1500, "bucketed.preprocessing_fn", bucketed)
