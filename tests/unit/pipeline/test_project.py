"""`noria init`: from any table to a project that loads, ingests and traces."""

import datetime
import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noria.core.errors import ConfigError, DataError
from noria.ingestion.ingest import ingest
from noria.pipeline.config import load
from noria.pipeline.init import draft, inference
from noria.stores.spans import SpanStore

BEGIN = datetime.datetime(2024, 1, 1)
ROWS = 1_200


def rides(
    label: Callable[[random.Random], Any],
    time: Callable[[datetime.datetime], Any] | None = None,
    delimiter: str = ",",
    quote: str = "",
    rows: int = ROWS,
) -> str:
    """A CSV file: an id, a gappy number, two texts, a constant, perhaps a time, and `outcome`."""
    rng = random.Random(7)
    names = ["ride id", *(["when"] if time else []), "miles", "payment", "zone", "unit", "outcome"]
    lines = [delimiter.join(f"{quote}{name}{quote}" for name in names)]
    for i in range(rows):
        moment = BEGIN + datetime.timedelta(minutes=i * 10 * 24 * 60 / rows)
        values = [
            i,
            *([time(moment)] if time else []),
            round(rng.random() * 10, 2) if rng.random() > 0.1 else "",
            rng.choice(["cash", "card"]),
            rng.choice("ABCDEFG"),
            "km",
            label(rng),
        ]
        lines.append(delimiter.join(f"{quote}{value}{quote}" for value in values))
    return "\n".join(lines) + "\n"


CASES = {
    "words, ISO times": (
        rides(lambda r: r.choice(["yes", "no", "no"]), lambda t: t.isoformat()),
        {"time": "when"},
        {"task": "binary", "classes": ["no", "yes"], "every": "day"},
    ),
    "0 and 1, epoch milliseconds, semicolons, quotes": (
        rides(lambda r: r.randint(0, 1), lambda t: int(t.timestamp() * 1000), ";", '"'),
        {"time": "when"},
        {"task": "binary", "classes": None, "every": "day"},
    ),
    "truth values, no time, tabs": (
        rides(lambda r: r.choice(["true", "false", ""]), None, "\t"),
        {},
        {"task": "binary", "classes": None, "every": f"rows:{ROWS}", "spans": 1},
    ),
    "one word and another, mixed case, American times": (
        rides(
            lambda r: r.choice(["Late"] * 3 + ["late"] + ["On time"] * 6),
            lambda t: f"{t:%m/%d/%Y %H:%M}",
        ),
        {"time": "when"},
        {"task": "binary", "classes": ["On time", "Late"], "every": "day", "format": "%m/%d/%Y %H:%M"},
    ),
    "three classes": (
        rides(lambda r: r.choice(["low", "mid", "high"]), lambda t: f"{t:%Y-%m-%d %H:%M:%S}", "|"),
        {"time": "when"},
        {"task": "multiclass", "classes": ["high", "low", "mid"], "every": "day"},
    ),
    "a quantity": (
        rides(lambda r: round(r.gauss(5, 2), 3), lambda t: int(t.timestamp())),
        {"time": "when"},
        {"task": "regression", "classes": None, "every": "day"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_drafts_that_work(tmp_path: Path, case: str) -> None:
    """Any delimiter, quotes, gaps, labels and times: it loads, its data comes in, its features trace."""
    text, options, expected = CASES[case]
    data = tmp_path / "rides.csv"
    data.write_text(text, encoding="utf-8")
    drafted = draft.draft(tmp_path / "my-rides", data, "outcome", **options)
    config = load(drafted.folder)
    assert {*draft.FILES} == {path.name for path in drafted.folder.iterdir()}
    assert expected["task"] == config.task
    assert expected["classes"] == config.label.classes
    assert expected["every"] == config.span.every
    assert expected.get("format") == config.time.format
    assert ["miles"] == drafted.columns.numeric
    assert ["payment", "zone"] == drafted.columns.categorical
    assert ["ride id"] == config.key == config.gates.data.ignore
    assert "unit" in drafted.columns.left_out

    store = SpanStore(config.home_path)
    report = ingest(config.data.source, config.event_settings(), store)
    assert (ROWS, 0) == (report.rows, report.dead_letters)
    assert drafted.spans == len(store.ids())
    assert expected.get("spans", 8) <= drafted.spans <= expected.get("spans", 14)
    assert {"miles", "miles_missing", "payment", "zone", "outcome"} <= traced(
        config.folder / "preprocessing.py", store
    )


def traced(path: Path, store: SpanStore) -> set[str]:
    """Names of the outputs that a drafted `preprocessing_fn` gives for sparse columns."""
    import pyarrow as pa
    import tensorflow as tf

    spec = importlib.util.spec_from_file_location("drafted_preprocessing", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tf.Graph().as_default():
        inputs = {}
        for field in store.table(store.ids()[0]).schema:
            text, floating = pa.types.is_string(field.type), pa.types.is_floating(field.type)
            kind = tf.string if text else tf.float32 if floating else tf.int64
            inputs[field.name] = tf.compat.v1.sparse_placeholder(kind, [None, None])
        # Rank 1 is what Transform and Trainer expect.
        outputs = module.preprocessing_fn(inputs)
        assert all(1 == output.shape.rank for output in outputs.values())
    return set(outputs)


def refused(folder: Path, text: str, kind: type[Exception] = DataError, **options: Any) -> Any:
    data = folder / "data.csv"
    data.write_text(text, encoding="utf-8")
    with pytest.raises(kind) as caught:
        draft.draft(folder / "p", data, options.pop("label", "y"), **options)
    assert not (folder / "p").exists()
    assert [data] == list(folder.iterdir())
    assert caught.value.next_step
    return caught.value


def table(label: Callable[[int], Any]) -> str:
    return "x,y\n" + "".join(f"{i % 7},{label(i)}\n" for i in range(100))


@pytest.mark.parametrize(
    ("text", "options", "what"),
    [
        ("", {}, "the file is empty"),
        ("x,y\n", {}, "no rows"),
        (table(lambda i: i % 2), {"label": "Y"}, "did you mean 'y'?"),
        (table(lambda i: 1), {}, "one class only: every labelled row is 1"),
        (table(lambda i: ""), {}, "holds no value"),
        (table(lambda i: i % 3), {"task": "binary"}, "has two values, but this one has 3"),
        (table(lambda i: f"text {i}"), {}, "100 different texts"),
        (table(lambda i: "ab"[i % 2]), {"task": "regression"}, "a regression needs numbers"),
        (table(lambda i: i % 2), {"time": "z"}, "column 'z' is missing"),
        ("x,y,t\n" + "1,0,soon\n2,1,later\n" * 50, {"time": "t"}, "must hold ISO 8601 times"),
        ("x,y\n" + "1,0\n1,1\n" * 50, {}, "no column of the table can be a feature"),
    ],
)
def test_refusals_leave_nothing(tmp_path: Path, text: str, options: dict, what: str) -> None:
    """What cannot become a project is refused with what and what next, and no half of one is left."""
    error = refused(tmp_path, text, **options)
    assert what in error.what


@pytest.mark.parametrize(
    ("options", "what"), [({"task": "ranking"}, "got 'ranking'"), ({"key": ["y"]}, "cannot be the label and")]
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict, what: str) -> None:
    """A task that does not exist, or a label that is the key, is refused with what next."""
    assert what in refused(tmp_path, table(lambda i: i % 2), ConfigError, **options).what


def test_no_place_for_the_folder(tmp_path: Path) -> None:
    """A folder below a file cannot be made: the error says what to do next."""
    data = tmp_path / "data.csv"
    data.write_text(table(lambda i: i % 2), encoding="utf-8")
    with pytest.raises(ConfigError, match="the folder cannot be made") as caught:
        draft.draft(data / "p", data, "y")
    assert caught.value.next_step


def test_never_overwrites(tmp_path: Path) -> None:
    """A folder with any of a project's files is left alone; its files are named."""
    (tmp_path / "preprocessing.py").write_text("# mine\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        draft.draft(tmp_path, tmp_path / "absent.csv", "y")
    assert "preprocessing.py would be overwritten" in caught.value.what
    assert "# mine\n" == (tmp_path / "preprocessing.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Rides", "my-rides"),
        ("2024_rides", "project-2024-rides"),
        ("größe", "gr-e"),
        ("x" * 62 + " rides", "x" * 62),
    ],
)
def test_names(folder: str, name: str) -> None:
    """A folder's name becomes a name that TF Serving and ML Metadata take."""
    assert name == draft.project_name(Path(folder))


def test_positive_class() -> None:
    """The second class is the positive one: what says yes, else the larger number, else the rarer text."""
    import pyarrow as pa

    def classes(values: list) -> list | None:
        return inference.label(pa.chunked_array([values]), "y").classes

    assert ["n", "y"] == classes(["y", "n", "y"])
    assert [-1, 1] == classes([1, -1, 1])
    assert ["stay", "leave"] == classes(["stay", "leave", "stay"])


def test_span_lengths() -> None:
    """About a dozen spans: by the calendar where it has a fitting period, by rows where not."""
    import numpy as np

    day = np.arange(0, 10 * 86_400, 600)
    assert ("day", 10) == inference.span_length(day, len(day))
    assert ("hour", 12) == inference.span_length(np.arange(0, 12 * 3_600, 60), 720)
    assert ("1m", 10) == inference.span_length(np.arange(0, 600), 600)
    assert ("15m", 12) == inference.span_length(np.arange(0, 3 * 3_600, 15), 720)
    assert ("rows:60", 3) == inference.span_length(
        np.arange(0, 3 * 3_600, 60), 180
    )  # 15 rows in each quarter
    year = np.arange(0, 80 * 86_400, 3_600)
    assert "week" == inference.span_length(year, len(year))[0]
    months = np.array([np.datetime64("2020-01") + i // 40 for i in range(1_200)]).astype("datetime64[s]")
    assert ("day", 30) == inference.span_length(months.astype(int), 1_200)  # they begin on different weekdays
    mondays = np.repeat(np.arange(30) * 7 + 4, 40) * 86_400
    assert ("week", 30) == inference.span_length(mondays, 1_200)
    assert ("rows:91", 11) == inference.span_length(None, 1_000)
    assert ("rows:1000", 1) == inference.span_length(None, 1_000, random=True)
    assert ("rows:200000", 3) == inference.span_length(None, 500_000, random=True)
    assert "rows:91" == inference.span_length(np.zeros(1_000, int), 1_000)[0]
