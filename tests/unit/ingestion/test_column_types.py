"""Column types: Noria's own keep the contract, and a user's is named by its import path."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from noria.core.errors import ConfigError
from noria.ingestion import conversion
from noria.ingestion.column_type_contract import check_column_type
from noria.ingestion.column_types import COLUMN_TYPES
from noria.ingestion.column_types.base import ColumnType
from noria.pipeline.config import load
from noria.pipeline.runs.ingest import ingest
from noria.stores.spans import SpanStore

# For each of Noria's own types: texts with their stored values, and texts that it refuses.
EXAMPLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "bool": ({"true": 1, " False ": 0, "1": 1, "0": 0, "yes": 1, "Off": 0}, ["maybe", "2"]),
    "clock": (
        {
            "11:38:36": 41_916.0,
            "0:05": 300.0,
            "12:30 am": 1_800.0,
            "1:00 P.M.": 46_800.0,
            "-1:30:00.5": -5_400.5,
        },
        ["3:2", "12:60", "13:00 pm", "noon", "2024-01-02 11:38"],
    ),
    "empty": ({}, ["red", "1.5"]),
    "float": ({"1.5": 1.5, "+2": 2.0, "1e3": 1000.0, " 7 ": 7.0, "50%": 0.5}, ["x", "1,5", "inf", "1e39"]),
    "float32": ({"1.5": 1.5, "-2": -2.0}, ["x", "1e39"]),
    "int": ({"1": 1, "+2": 2, "-3.0": -3, " 4 ": 4}, ["1.5", "x", "9" * 19]),
    "string": ({"red": "red", " two words": " two words", "-": "-", "none": "none"}, []),
    "time": ({"2024-01-02": 1_704_153_600, "2024-01-02T00:00:01Z": 1_704_153_601}, ["today", "2024-02-31"]),
}
OWN = """
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from noria.ingestion.arrow_values import blank, matches
from noria.ingestion.column_types.base import ColumnType

class Money(ColumnType):
    label = "an amount such as $3.50"

    def from_text(self, texts, form):
        good = matches(texts, r"^[$][0-9.]+$")
        amounts = pc.replace_substring(blank(texts, ~good), "$", "").cast(pa.float64())
        return amounts, np.asarray(texts.is_valid()) & ~good

    def from_arrow(self, values):
        return values.cast(pa.float64()), np.zeros(len(values), bool)
"""


@pytest.mark.parametrize("name", COLUMN_TYPES.names())
def test_noria_s_own_types_keep_the_contract(name: str) -> None:
    """Each type reads and refuses its examples, alone and in slices, and reads again what it stored."""
    reads, refuses = EXAMPLES[name]
    check_column_type(COLUMN_TYPES.find(name), reads, refuses)


def test_arrow_s_times_of_day_and_lengths_of_time_are_clocks() -> None:
    """A column of Arrow's own types for them is read in seconds, in each of their units."""
    for arrow_type, ticks, seconds in (
        (pa.time32("ms"), 1_500, 1.5),
        (pa.time64("us"), 41_916_000_000, 41_916.0),
        (pa.duration("ns"), -2_000_000_000, -2.0),
    ):
        values = pa.array([ticks, None], arrow_type)
        column_type = conversion.of_arrow(arrow_type)
        assert column_type is not None and "clock" == column_type.name
        found, bad = conversion.convert(values, column_type)
        assert [seconds, None] == found.to_pylist()
        assert not bad.any()
        found, bad = conversion.convert(values, conversion.named("int"))
        assert [None, None] == found.to_pylist()
        assert [True, False] == bad.tolist()


def test_the_contract_refuses_a_type_that_drops_values() -> None:
    """A type that makes a missing value of a wrong one would lose it without a dead letter."""

    class Silent(COLUMN_TYPES.find("float")):  # type: ignore[misc]
        def from_text(self, texts: pa.Array, form: Any) -> Any:
            values, bad = super().from_text(texts, form)
            return values, bad & False

    with pytest.raises(AssertionError, match="must refuse"):
        check_column_type(Silent, {"1": 1.0}, ["x"])


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("bool", "int", "int"),
        ("int", "float32", "float"),
        ("float", "int", "float"),
        ("float32", "bool", "float"),
        ("empty", "time", "time"),
        ("string", "empty", "string"),
        ("string", "int", None),
        ("time", "int", None),
        ("time(%d.%m.%Y)", "time", "time(%d.%m.%Y)"),
        ("time(%d.%m.%Y)", "int", None),
    ],
)
def test_the_type_of_two(first: str, second: str, both: str | None) -> None:
    """The nearest type that both widen to; the order does not matter."""
    kinds = conversion.named(first), conversion.named(second)
    expected = None if both is None else conversion.named(both)
    assert (expected, expected) == (conversion.unify(*kinds), conversion.unify(*kinds[::-1]))


@pytest.mark.parametrize(
    ("arrow", "name"),
    [
        (pa.uint64(), "int"),
        (pa.int8(), "int"),
        (pa.float16(), "float32"),
        (pa.decimal128(10, 2), "float"),
        (pa.date32(), "time"),
        (pa.timestamp("ns", "UTC"), "time"),
        (pa.large_binary(), "string"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.null(), "empty"),
        (pa.list_(pa.int8()), None),
        (pa.struct([("a", pa.int8())]), None),
    ],
)
def test_the_type_of_a_typed_column(arrow: pa.DataType, name: str | None) -> None:
    """Each Arrow type belongs to one column type, or has no place in a flat table."""
    assert name == getattr(conversion.of_arrow(arrow), "name", None)


def test_a_users_type_in_the_config(tmp_path: Path) -> None:
    """A class by import path in `data.types` reads the first file and later ones; what it refuses is a dead letter."""
    (tmp_path / "own_types.py").write_text(OWN)
    (tmp_path / "noria.yaml").write_text(
        "name: rides\nlabel: tip\nspan: rows:200\n"
        "data: {source: '*.csv', types: {fare: own_types.Money}, max_bad_share: 0.01}\n"
    )
    rows = [f"${i}.50,{i % 2}" for i in range(200)]
    (tmp_path / "a.csv").write_text("fare,tip\n" + "\n".join(rows) + "\n")
    config = load(tmp_path)
    assert 200 == ingest(config, lambda record: None)["rows"]
    (tmp_path / "b.csv").write_text("fare,tip\n" + "\n".join([*rows[1:], "$0.50,0", "3 apples,1"]) + "\n")
    assert 1 == ingest(config, lambda record: None)["dead_letters"]
    store = SpanStore(config.home_path)
    assert [2, [1.5, 2.5]] == [len(store.ids()), store.table(2)["fare"].to_pylist()[:2]]
    [letters] = (config.home_path / "dead-letters").iterdir()
    assert "'3 apples' is not an amount such as $3.50" == json.loads(letters.read_text())["reason"]


def test_a_type_that_does_not_exist() -> None:
    """The error names the types and the nearest one."""
    with pytest.raises(ConfigError, match="did you mean 'float'"):
        conversion.named("flot")
    with pytest.raises(ConfigError, match="subclass of"):
        COLUMN_TYPES.find("pathlib.Path")


def test_a_base_reads_nothing() -> None:
    """A subclass without `from_text` fails at once, and not by giving nulls."""
    with pytest.raises(NotImplementedError):
        conversion.convert(pa.array(["1"]), ColumnType("own"))
