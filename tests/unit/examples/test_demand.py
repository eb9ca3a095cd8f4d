"""The shops' example: an ordinary project, read as any project is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from noria.core.user_code import load_function
from noria.pipeline.config import Config, load
from noria.schemas import loader

FOLDER = Path(__file__).parents[3] / "examples" / "demand"


@pytest.fixture(scope="module")
def config() -> Config:
    return load(FOLDER)


@pytest.fixture(scope="module")
def table(config: Config) -> pa.Table:
    """What the pipeline gets from `data.source`."""
    assert config.data.source is not None
    return load_function(config.data.source.replace(":", "."), str(config.folder), "data.source")()


def test_every_hour_is_there_once(config: Config, table: pa.Table) -> None:
    """Each shop has one row for each hour of 20 weeks, and the same rows come again in the next call."""
    assert 20 * 7 * 24 * 5 == table.num_rows
    steps = pc.min_max(pc.subtract(table["time"][5:], table["time"][:-5])).as_py()
    assert {"min": 3600, "max": 3600} == steps
    assert table.num_rows == table.group_by(config.key).aggregate([]).num_rows
    again = load_function("demand_events.table", str(config.folder), "data.source")()
    assert again.equals(table)


def test_the_files_name_the_same_columns(config: Config, table: pa.Table) -> None:
    """Schema, label, time and key fit the table."""
    schema = loader.load(config.schema_path)
    assert {feature.name for feature in schema.feature} == set(table.column_names)
    assert {config.label.column, config.time.column, *config.key} <= set(table.column_names)


def test_prices_rise_in_week_12(table: pa.Table) -> None:
    """The change comes after the first, cold run's ten weeks and one more."""
    week = pc.divide(pc.subtract(table["time"], 1_704_067_200), 7 * 86400)
    mean = pa.table({"week": week, "price": table["price"]}).group_by("week").aggregate([("price", "mean")])
    prices = [row["price_mean"] for row in sorted(mean.to_pylist(), key=lambda row: row["week"])]
    assert all(19 < price < 21 for price in prices[:11])
    assert all(26 < price < 28 for price in prices[11:])
