"""What `noria init` decides about a table as people have it, what it writes, and what it says."""

import datetime
import decimal
import json
import random
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from noria.components.trainer.settings import TrainerSettings
from noria.core.errors import ConfigError, DataError, NoriaError
from noria.ingestion.ingest import ingest
from noria.pipeline.config import load
from noria.pipeline.init import draft, time_formats
from noria.pipeline.init.origin import origin
from noria.pipeline.runs.ingest import ingest as project_ingest
from noria.schemas import loader
from noria.stores.spans import SpanStore

BEGIN = datetime.datetime(2024, 1, 1)


def table(path: Path, header: str, row, rows: int = 400) -> Path:
    rng = random.Random(3)
    lines = [",".join(str(value) for value in (*row(i, rng), rng.randint(0, 1))) for i in range(rows)]
    path.write_text("\n".join([header + ",y", *lines]) + "\n", encoding="utf-8")
    return path


def ingested(folder: Path) -> tuple[int, int]:
    config = load(folder)
    report = ingest(config.data.source, config.event_settings(), SpanStore(config.home_path))
    return report.rows, report.dead_letters


def test_marks_are_written_down(tmp_path: Path) -> None:
    """A repeated sign in a column of numbers is missing: in noria.yaml, in a note, and in what is ingested."""
    data = table(
        tmp_path / "d.csv", "size,age", lambda i, r: ("?" if i % 33 == 0 else r.random(), r.random())
    )
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert ["?"] == load(drafted.folder).data.missing
    assert ["size", "age"] == drafted.columns.numeric
    assert any("data.missing" in note for note in drafted.notes)
    assert (400, 0) == ingested(drafted.folder)


def test_days_of_excel_are_times(tmp_path: Path) -> None:
    """Of the event, because as seconds all would be in one morning of 1970; of another column if its type says so."""
    data = table(
        tmp_path / "d.csv", "day,due,size", lambda i, r: (45_292 + i / 8, 45_300 + i // 10, r.random())
    )
    drafted = draft.draft(tmp_path / "p", data, "y", time="day", types={"due": "time(excel)"})
    config = load(drafted.folder)
    assert ("excel", "time(excel)") == (config.time.format, config.data.types["due"])
    assert any("days that Excel counts" in note for note in drafted.notes)
    assert "due" in drafted.columns.times
    assert (400, 0) == ingested(drafted.folder)
    first = SpanStore(config.home_path).table(1)
    assert [1_704_067_200, 1_704_758_400] == [first[name][0].as_py() for name in ("day", "due")]


def test_seconds_since_a_start_are_not(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", "at,size", lambda i, r: (400 * i, r.random()))
    assert load(draft.draft(tmp_path / "p", data, "y", time="at").folder).time.format is None


def test_several_columns_are_left_out(tmp_path: Path) -> None:
    """With commas between them, unless a column has a comma in its name."""
    data = table(tmp_path / "d.csv", 'a,b,"c,d",e', lambda i, r: (*(r.random() for _ in range(4)),))
    drafted = draft.draft(tmp_path / "p", data, "y", drop=["a,b", "c,d"])
    assert ["e"] == drafted.columns.numeric
    with pytest.raises(DataError, match="column 'x' is missing"):
        draft.draft(tmp_path / "q", data, "y", drop=["a,x"])


def test_the_model_is_the_default_one(tmp_path: Path) -> None:
    """A drafted project names no family: it gets the default one, also after the default changes."""
    data = table(tmp_path / "d.csv", "size", lambda i, r: (r.random(),))
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert TrainerSettings().family == load(drafted.folder).trainer.family


def test_columns_that_fit_no_table(tmp_path: Path) -> None:
    """Lists and huge unsigned numbers are not used, with a note, and the data is ingested without them."""
    x = [random.Random(i).random() for i in range(400)]
    columns = {
        "x": x,
        "tags": [["a"][: i % 2] for i in range(400)],
        "device": pa.array([2**63 + i for i in range(400)], pa.uint64()),
        "y": [int(v > 0.5) for v in x],
    }
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    drafted = draft.draft(tmp_path / "p", tmp_path / "d.parquet", "y")
    assert ["x"] == load(drafted.folder).data.columns == drafted.columns.numeric
    assert 2 == sum("is not used" in note for note in drafted.notes)
    assert (400, 0) == ingested(drafted.folder)
    with pytest.raises(ConfigError, match="'tags' cannot be used"):
        draft.draft(tmp_path / "q", tmp_path / "d.parquet", "y", key=["tags"])


def test_times_of_day_are_numbers(tmp_path: Path) -> None:
    """Texts such as 9:05 and Arrow's times of day are seconds, and without a date they are not the event's time."""
    data = table(tmp_path / "d.csv", "at", lambda i, r: (f"{r.randrange(24)}:{r.randrange(60):02d}",))
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert ["at"] == drafted.columns.numeric
    assert (400, 0) == ingested(drafted.folder)
    with pytest.raises(DataError, match="times of day without a date"):
        draft.draft(tmp_path / "q", data, "y", time="at")
    seconds = pa.array([i * 97 % 86_400 for i in range(400)], pa.time32("s"))
    pq.write_table(pa.table({"at": seconds, "y": [i % 2 for i in range(400)]}), tmp_path / "d.parquet")
    drafted = draft.draft(tmp_path / "r", tmp_path / "d.parquet", "y")
    assert ["at"] == drafted.columns.numeric
    assert (400, 0) == ingested(drafted.folder)


def test_options_of_people(tmp_path: Path) -> None:
    """--missing, --types, --drop and --encoding decide, and are written into noria.yaml."""
    data = table(tmp_path / "d.csv", "zip,size,junk", lambda i, r: (r.randint(10, 20), r.random(), "ä"))
    data.write_bytes(data.read_text("utf-8").encode("cp1250"))
    options = {"missing": ["x"], "types": {"zip": "string"}, "drop": ["junk"], "encoding": "cp1250"}
    drafted = draft.draft(tmp_path / "p", data, "y", **options)
    written = load(drafted.folder).data
    assert (["x"], {"zip": "string"}, "cp1250") == (written.missing, written.types, written.encoding)
    assert ["zip", "size"] == written.columns
    assert ["zip"] == drafted.columns.categorical
    assert (400, 0) == ingested(drafted.folder)
    with pytest.raises(DataError, match="cp99999"):
        draft.draft(tmp_path / "q", data, "y", encoding="cp99999")


def test_names_in_any_script(tmp_path: Path) -> None:
    """Features get ASCII names, which TensorFlow's scopes need; the raw columns keep theirs."""
    taken: set[str] = set()
    names = ["Währung", "Größe", "Wahrung", "价格", "数量"]
    assert ["Wahrung", "Grosse", "Wahrung_", "column", "column_"] == [draft._feature(n, taken) for n in names]
    data = table(tmp_path / "d.csv", "Größe,Währung", lambda i, r: (r.random(), r.choice(["EUR", "USD"])))
    drafted = draft.draft(tmp_path / "p", data, "y")
    written = (drafted.folder / "preprocessing.py").read_text("utf-8")
    assert '"Wahrung": "Währung"' in written
    assert '"Grosse": "Größe"' in written


def test_times_beside_the_events_own(tmp_path: Path) -> None:
    """A further time becomes hour and weekday; its raw value grows, so no drift and no range is judged."""

    def row(i: int, r: random.Random):
        t = BEGIN + datetime.timedelta(minutes=40 * i)
        return t.isoformat(), (t + datetime.timedelta(minutes=r.randint(1, 40))).isoformat(), r.random()

    drafted = draft.draft(
        tmp_path / "p", table(tmp_path / "d.csv", "started,ended,x", row), "y", time="started"
    )
    assert (["x"], ["ended"]) == (drafted.columns.numeric, drafted.columns.times)
    assert ["ended"] == load(drafted.folder).gates.data.ignore
    written = (drafted.folder / "preprocessing.py").read_text("utf-8")
    assert 'TIMES = {\n    "ended": "ended",\n}' in written
    assert "_of_day" in written
    compile(written, "preprocessing.py", "exec")


def test_day_first_by_all_rows() -> None:
    """All rows decide between day first and month first; where none can, both formats are named."""

    def formats(days: int) -> tuple[str, ...]:
        texts = [f"{BEGIN + datetime.timedelta(minutes=7 * i):%d/%m/%Y %H:%M}" for i in range(206 * days)]
        return time_formats.event_times(pa.chunked_array([texts]), "when")[1]

    assert ("%d/%m/%Y %H:%M",) == formats(20)
    assert ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M") == formats(10)


def test_a_long_table_s_times_are_found() -> None:
    """A column of many rows is one batch, whose rows all count; a format that few of them are in is none."""
    texts = [f"{1 + i % 9}/{1 + i % 28}/1990 0:{i % 60:02d}:00" for i in range(20_000)]
    assert ("%m/%d/%Y %H:%M:%S",) == time_formats.formats(pa.array(texts)).best
    assert ("%m/%d/%Y %H:%M:%S",) == time_formats.event_times(pa.chunked_array([texts]), "at")[1]


def test_times_written_as_whole_numbers() -> None:
    """24030400 is 4 March 2024 where all numbers are such hours; seconds since 1970 stay seconds."""
    hours = [int(f"{BEGIN + datetime.timedelta(hours=i):%y%m%d%H}") for i in range(100)]
    seconds, formats = time_formats.event_times(pa.chunked_array([hours]), "hour")
    assert ("%y%m%d%H",) == formats
    assert 1_704_067_200 == seconds[0]
    epochs = pa.chunked_array([np.arange(1_704_067_200, 1_704_067_200 + 100 * 3_600, 3_600)])
    assert () == time_formats.event_times(epochs, "when")[1]


def test_times_as_people_write_them() -> None:
    """Formats of other programs, years, months, named zones, and midnight as 24:00."""

    def found(texts: list) -> tuple[int, tuple[str, ...]]:
        seconds, formats = time_formats.event_times(pa.chunked_array([texts]), "when")
        return int(seconds[0]), formats

    moments = [datetime.datetime(2024, 5, 31, 13, 7) + datetime.timedelta(hours=7 * i) for i in range(90)]
    first = int(moments[0].replace(tzinfo=datetime.timezone.utc).timestamp())
    for form in (
        *("%m/%d/%Y %I:%M %p", "%m/%d/%y %H:%M", "%d.%m.%y %H:%M", "%d.%m.%Y, %H:%M", "%Y%m%dT%H%M%SZ"),
        *("%a, %d %b %Y %H:%M:%S GMT", "%d/%b/%Y:%H:%M:%S +0000", "%Y:%m:%d %H:%M:%S", "%Y年%m月%d日 %H:%M"),
    ):
        assert first == found([f"{moment:{form}}" for moment in moments])[0], form
    for half in ("a.m.", "A. M.", "am"):  # and behind the thin blank of web browsers
        halves = [
            f"{m:%d/%m/%Y %I:%M}\u202f{half.replace('a', 'p').replace('A', 'P') if m.hour > 11 else half}"
            for m in moments
        ]
        assert (first, ("%d/%m/%Y %I:%M %p",)) == found(halves)
    days = [f"{moment:%Y-%j}" for moment in moments]
    day = first // 86_400 * 86_400
    assert (day, ("%Y-%j",)) == found(days)
    assert (day, ("%Y%j",)) == found([int(each.replace("-", "")) for each in days])
    assert (day, ("%y%m%d",)) == found([int(f"{moment:%y%m%d}") for moment in moments])
    german = {"May": "Mai", "June": "Juni"}
    texts = [f"{moment.day}. {german[f'{moment:%B}']} {moment:%Y %H:%M}" for moment in moments]
    assert (first, ("%d. %b %Y %H:%M",)) == found(texts)  # %b and %B read each other's names then
    assert (0, ("%Y",)) == found([1970, 1971, 2005])
    assert (1_704_067_200, ("%Y%m",)) == found([202_400 + month for month in range(1, 13)])
    assert (
        1_704_063_600
        == found(["2024-01-01T00:00:00+01:00[Europe/Berlin]"])[0]
        == found(["2024-01-01 00:00 CET"])[0]
    )
    assert 1_704_067_200 == found(["2023-12-31 24:00"])[0]
    with pytest.raises(DataError, match="--time-format"):
        found(["2024-01-01T00:00:00[Europe/Berlin]"])  # without an offset it is not known


def test_the_format_of_the_time_is_given(tmp_path: Path) -> None:
    """--time-format decides and is written down; times at the beginning of 1970 get a note."""
    data = table(
        tmp_path / "d.csv", "t,x", lambda i, r: (f"{i % 28 + 1:02}/0{i // 28 % 9 + 1}/24", r.random())
    )
    drafted = draft.draft(tmp_path / "p", data, "y", time="t", time_format="%d/%m/%y")
    assert "%d/%m/%y" == load(drafted.folder).time.format
    ticks = table(tmp_path / "e.csv", "t,x", lambda i, r: (450_000 + 3_600 * i, r.random()))
    drafted = draft.draft(tmp_path / "q", ticks, "y", time="t")
    assert any("begin at 1970-01-06T05:00:00Z" in note for note in drafted.notes)


def test_further_times_in_other_forms(tmp_path: Path) -> None:
    """Times as numbers or as texts of any format are features: the same ones from CSV, JSON lines and Parquet."""
    rng = random.Random(3)
    moments = [BEGIN + datetime.timedelta(hours=rng.randint(0, 8_000)) for _ in range(400)]
    rows = [
        {
            "seen": int(moment.timestamp() * 1000),
            "day": int(f"{moment:%Y%m%d}"),
            "hour": int(f"{moment:%Y%m%d%H}"),
            "due": f"{moment:%d.%m.%Y %H:%M}",
            "sold": f"{moment.month}/{moment.day}/{moment:%Y} {moment.hour}:00:00",
            "x": i,
            "y": i % 2,
        }
        for i, moment in enumerate(moments)
    ]
    frame = pa.Table.from_pylist(rows)
    pa.csv.write_csv(frame, tmp_path / "d.csv")
    pq.write_table(frame, tmp_path / "d.parquet")
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = []
    for kind in ("csv", "parquet", "jsonl"):
        drafted = draft.draft(tmp_path / kind, tmp_path / f"d.{kind}", "y", drop=["x"])
        assert ["seen", "day", "hour", "due", "sold"] == drafted.columns.times
        assert {
            "seen": "time",
            "day": "time",
            "hour": "time(%Y%m%d%H)",
            "due": "time(%d.%m.%Y %H:%M)",
            "sold": "time(%m/%d/%Y %H:%M:%S)",
        } == load(drafted.folder).data.types
        assert (400, 0) == ingested(drafted.folder)
        store = SpanStore(load(drafted.folder).home_path)
        found.append([pa.Table.from_batches(store.read(span)).to_pylist() for span in store.ids()])
    assert found[0] == found[1] == found[2]
    seconds = [int((moment - datetime.datetime(1970, 1, 1)).total_seconds()) for moment in moments]
    for name in ("hour", "due", "sold"):
        assert seconds == [row[name] for span in found[0] for row in span]


def test_day_first_in_further_times(tmp_path: Path) -> None:
    """A column that can be read in two ways says so; other columns that cannot decide for it."""

    def row(i: int, r: random.Random) -> tuple:
        unclear = datetime.datetime(2024, r.randint(1, 12), r.randint(1, 12))
        return f"{unclear:%d/%m/%Y}", f"{unclear + datetime.timedelta(days=r.randint(0, 28)):%d/%m/%Y}", i

    data = table(tmp_path / "d.csv", "born,due,x", row)
    drafted = draft.draft(tmp_path / "p", data, "y", drop=["due"])
    assert "time(%m/%d/%Y)" == load(drafted.folder).data.types["born"]
    assert any("--types 'born=time(%d/%m/%Y)'" in note for note in drafted.notes)
    for project, time in (("q", None), ("r", "born")):
        drafted = draft.draft(tmp_path / project, data, "y", time=time)
        written = load(drafted.folder)
        assert "%d/%m/%Y" == (written.time.format if time else written.data.types["born"][5:-1])
        assert "time(%d/%m/%Y)" == written.data.types["due"]
        assert (400, 0) == ingested(drafted.folder)


def test_a_time_with_few_other_values(tmp_path: Path) -> None:
    """A column of times with some other values is not used, so that no row is lost; very few are dead letters."""
    for share, used in ((30, False), (300, True)):
        data = table(
            tmp_path / f"{share}.csv",
            "due,x",
            lambda i, r, share=share: (
                "soon" if i % share == 7 else f"{r.randint(1, 28)}.{r.randint(1, 12)}.2024",
                r.random(),
            ),
        )
        drafted = draft.draft(tmp_path / f"p{share}", data, "y")
        assert used == (drafted.columns.times == ["due"])
        assert used != ("due" in drafted.columns.left_out)
        assert (398, 2) == ingested(drafted.folder) if used else (400, 0) == ingested(drafted.folder)


def test_bounds_beside_numbers(tmp_path: Path) -> None:
    """`>3`, `<0.1` and `65+` among numbers are the numbers in them, with a note; a column of such texts is text."""

    def row(i: int, r: random.Random) -> tuple:
        lead = "<0.1" if i % 40 == 3 else round(r.random() + 0.1, 2)
        kids = ">3" if i % 90 == 5 else r.randint(1, 3)
        return lead, kids, r.choice(["<20", "20", "65+", "30"]), r.random()

    drafted = draft.draft(tmp_path / "p", table(tmp_path / "d.csv", "lead,kids,age,x", row), "y")
    assert (["lead", "kids", "x"], ["age"]) == (drafted.columns.numeric, drafted.columns.categorical)
    assert ["lead", "kids"] == [note.split(":")[0] for note in drafted.notes if "the number in it" in note]
    assert [] == load(drafted.folder).data.missing
    assert (400, 0) == ingested(drafted.folder)


def test_columns_that_give_the_label_away(tmp_path: Path) -> None:
    """A text or a number from which alone the label can be read gets a note; a good feature gets none."""
    data = table(tmp_path / "d.csv", "good,noise", lambda i, r: (i % 2 + r.gauss(0, 0.4), r.random()))
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert [] == [note for note in drafted.notes if "alone tells the label" in note]
    rng = random.Random(5)
    rows = []
    for _ in range(600):
        amount = rng.lognormvariate(3, 0.5)
        state = rng.choice(["paid", "open"]) if amount > 20 else rng.choice(["late", "lost"])
        rows.append(
            {"state": state, "amount": amount, "twice": 2 * amount, "x": rng.random(), "y": amount > 20}
        )
    pa.csv.write_csv(pa.Table.from_pylist(rows), tmp_path / "e.csv")
    for label, leaking in (("y", ["amount", "twice", "state"]), ("amount", ["twice"])):
        drafted = draft.draft(tmp_path / label, tmp_path / "e.csv", label)
        assert leaking == [note.split()[0] for note in drafted.notes if "alone tells the label" in note]


def test_years_long_ago(tmp_path: Path) -> None:
    """Years from 1500 on are years, and their rows are read."""
    data = table(tmp_path / "d.csv", "year,x", lambda i, r: (1871 + i // 4, r.random()))
    drafted = draft.draft(tmp_path / "p", data, "y", time="year")
    assert "%Y" == load(drafted.folder).time.format
    assert (400, 0) == ingested(drafted.folder)


def month(i: int) -> tuple[int, int]:
    return 1949 + i // 12, i % 12 + 1


@pytest.mark.parametrize(
    ("form", "write"),
    [
        ("%Y-%m", lambda i: "{}-{:02}".format(*month(i))),
        ("%Y%m", lambda i: "{}{:02}".format(*month(i))),
        ("%Y", lambda i: f"{1700 + i // 2}.0"),
        ("%Y-%j", lambda i: f"2024-{i % 366 + 1:03}"),
    ],
)
def test_months_and_years_are_not_days_or_seconds(tmp_path: Path, form: str, write) -> None:
    """2024-02 is no day of the year; 192607 and 1950.0 are not in the first hours of 1970."""
    data = table(tmp_path / "d.csv", "when,size", lambda i, r: (write(i), r.random()))
    drafted = draft.draft(tmp_path / "p", data, "y", time="when")
    assert form == load(drafted.folder).time.format
    assert (400, 0) == ingested(drafted.folder)


def test_years_with_decimals_are_refused(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", "when,size", lambda i, r: (round(2000 + i / 12, 5), r.random()))
    with pytest.raises(DataError, match="years with decimals") as caught:
        draft.draft(tmp_path / "p", data, "y", time="when")
    assert "2000.08333" in str(caught.value)


def test_a_number_that_would_be_a_time_to_come_is_a_number(tmp_path: Path) -> None:
    """A longitude in 2^31 parts of a half circle would be a second of 2033."""
    data = table(tmp_path / "d.csv", "place,size", lambda i, r: (1_992_059_008 + 7_919 * i % 300, r.random()))
    assert ["place", "size"] == draft.draft(tmp_path / "p", data, "y").columns.numeric


def test_times_that_no_event_has(tmp_path: Path) -> None:
    """A column of which many times are to come, or are before 1901, is refused before the first run refuses it."""
    year = datetime.datetime.now().year
    for name, start, said in (("f", year - 1, "are in the future"), ("p", 1800, "are before 1901")):
        data = table(
            tmp_path / f"{name}.csv", "t,x", lambda i, r, at=start: (f"{at + i // 100}-01-01", r.random())
        )
        with pytest.raises(DataError, match=said):
            draft.draft(tmp_path / name, data, "y", time="t")


def test_times_of_which_some_are_none(tmp_path: Path) -> None:
    """The error names the format of the most, the first value that has another one, and its row."""
    data = table(
        tmp_path / "d.csv",
        "t,x",
        lambda i, r: ("1/2/2024 - 1/5/2024" if i % 8 == 5 else f"1/{i % 28 + 1}/2024", i),
    )
    with pytest.raises(
        DataError, match="%m/%d/%Y, as 88% of its values are, got '1/2/2024 - 1/5/2024'"
    ) as error:
        draft.draft(tmp_path / "p", data, "y", time="t")
    assert "t, row 6" == error.value.where


def test_two_formats_that_alternate(tmp_path: Path) -> None:
    """ISO 8601 beside another format is read, in whatever order the two come."""

    def row(i: int, r: random.Random) -> tuple:
        moment = BEGIN + datetime.timedelta(hours=5 * i)
        return f"{moment:%d/%m/%Y %H:%M}" if i % 3 else moment.isoformat(), r.random()

    for order in (0, 1, 2):
        data = table(tmp_path / f"{order}.csv", "t,x", lambda i, r, order=order: row(i + order, r), rows=900)
        drafted = draft.draft(tmp_path / f"p{order}", data, "y", time="t")
        assert "%d/%m/%Y %H:%M" == load(drafted.folder).time.format
        assert (900, 0) == ingested(drafted.folder)


def test_a_mark_with_gaps(tmp_path: Path) -> None:
    """A text that only some rows have, such as x, is a category. One that all rows have is not a feature."""
    data = table(tmp_path / "d.csv", "gift,all", lambda i, r: ("x" if r.random() < 0.4 else "", "x"))
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert (["gift"], {"all": "the same value in every row"}) == (
        drafted.columns.categorical,
        drafted.columns.left_out,
    )


@pytest.mark.parametrize("name", ["off", "yes", "null"])
def test_a_folder_that_yaml_reads_as_a_value(tmp_path: Path, name: str) -> None:
    """The project's name is a text, also where YAML knows the word."""
    data = table(tmp_path / "d.csv", "x", lambda i, r: (r.random(),))
    assert name == load(draft.draft(tmp_path / name, data, "y").folder).name


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "rownames", "user_id"])
def test_the_index_of_a_sample_names_rows(tmp_path: Path, name: str) -> None:
    data = table(tmp_path / "d.csv", f"{name},size", lambda i, r: (i * 7_919 % 100_003, r.random()))
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert (["size"], 1) == (drafted.columns.numeric, len(drafted.columns.key))


def test_different_whole_numbers_are_a_quantity(tmp_path: Path) -> None:
    """An income that differs in all rows is a feature; a serial number, and what is called an id, is not."""
    row = lambda i, r: (i * 7_919 % 100_003, 5_000 + i, (i * 104_729) % 1_000_003)  # noqa: E731
    drafted = draft.draft(tmp_path / "p", table(tmp_path / "d.csv", "income,number,user_id", row), "y")
    assert ["income"] == drafted.columns.numeric
    assert ["number", "user_id"] == [
        name for name, why in drafted.columns.left_out.items() if "identifies" in why
    ]


def test_only_a_time(tmp_path: Path) -> None:
    """The hour and the weekday of the events are features enough."""
    data = table(tmp_path / "d.csv", "t", lambda i, r: (BEGIN + datetime.timedelta(hours=i),))
    drafted = draft.draft(tmp_path / "p", data, "y", time="t")
    assert "time_of_week" in (drafted.folder / "preprocessing.py").read_text("utf-8")


@pytest.mark.parametrize(("days", "expected"), [(300, []), (1500, ["seen", "t"])])
def test_the_season_is_a_feature_where_the_first_window_covers_a_year(
    days: int, expected: list[str], tmp_path: Path
) -> None:
    """In four years each season is in the first window; in ten months the season would be a trend."""
    day = lambda i: f"{BEGIN - datetime.timedelta(days=days * (1 - i / 400)):%Y-%m-%d}"  # noqa: E731
    data = table(tmp_path / "d.csv", "t,seen", lambda i, r: (day(i), day(i - i % 7)))
    drafted = draft.draft(tmp_path / "p", data, "y", time="t")
    assert expected == sorted(drafted.yearly)
    written: dict = {}
    exec((drafted.folder / "preprocessing.py").read_text("utf-8"), written)
    assert {"time": "t", "seen": "seen"} == written["SEASONS"] if expected else "SEASONS" not in written
    with tf.Graph().as_default():
        inputs = {name: tf.constant([1_700_000_000], tf.int64) for name in ("t", "seen", "y")}
        made = {name for name in written["preprocessing_fn"](inputs) if "of_year" in name}
    assert bool(expected) == bool(made)


def test_long_names(tmp_path: Path) -> None:
    """A vocabulary's file is called after its feature, and a file system takes 255 bytes."""
    names = ["c" * 300, "c" * 299 + "d"]
    drafted = draft.draft(
        tmp_path / "p",
        table(tmp_path / "d.csv", ",".join(names), lambda i, r: (r.choice("ab"), r.choice("cd"))),
        "y",
    )
    written: dict = {}
    text = (drafted.folder / "preprocessing.py").read_text("utf-8")
    exec(text[text.index("CATEGORIES") : text.index("# Entries")], written)
    assert names == list(written["CATEGORIES"].values())
    assert all(len(name) <= 110 for name in written["CATEGORIES"])


LABELS = {
    "blanks and case": (["No", " yes", "NO ", "Yes\u00a0"], "binary", 2),
    "odd blanks": (["very  good", "Very\u00a0good", "bad\u200b", "bad"], "binary", 2),
    "yes and no in all forms": (["0", "yes", "False", "T"], "binary", 2),
    "signed": (["-1", "+1", "-1.0", "1"], "binary", 2),
    "decimals": ([decimal.Decimal("0.0"), decimal.Decimal("1.0")], "binary", 2),
    "lengths of time": ([f"02:{i % 60:02}:{i % 7:02}" for i in range(200)], "regression", 0),
    "amounts": (["$1,200.50", "($3.00)", "$7", "$9.10"], "regression", 0),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_as_people_write_them(tmp_path: Path, case: str) -> None:
    """`init` finds the same classes as ingestion, with any blanks around the words; no row is refused."""
    words, task, classes = LABELS[case]
    rng = random.Random(5)
    columns = {"x": [rng.random() for _ in range(200)], "y": [words[i % len(words)] for i in range(200)]}
    if isinstance(words[0], str):
        data = tmp_path / "d.csv"
        pa.csv.write_csv(pa.table(columns), data)
    else:
        data = tmp_path / "d.parquet"
        pq.write_table(pa.table(columns), data)
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert (task, classes) == (drafted.task, len(drafted.label.shares))
    config = load(drafted.folder)
    store = SpanStore(config.home_path)
    report = ingest(config.data.source, config.event_settings(), store)
    assert (200, 0, 0) == (report.rows, report.dead_letters, report.unlabelled)
    if task == "binary":
        assert {0, 1} == set(store.table(1).column("y").to_pylist())


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ([str(i * 37 % 101) for i in range(101)], "regression"),
        ([f"{i * 37 % 101}.5" for i in range(101)], "regression"),
        (["0", "1"], "binary"),
        (["true", "false"], "binary"),
        (["7", "8", "9"], "multiclass"),
    ],
)
def test_a_label_of_text_in_parquet_is_read_as_in_csv(tmp_path: Path, words: list[str], task: str) -> None:
    """Databases without types, and files that were all read as text, hold numbers so."""
    rng = random.Random(5)
    made = pa.table(
        {"x": [rng.random() for _ in range(300)], "y": [words[i % len(words)] for i in range(300)]}
    )
    pa.csv.write_csv(made, tmp_path / "d.csv")
    pq.write_table(made, tmp_path / "d.parquet")
    found = []
    for suffix in ("csv", "parquet"):
        drafted = draft.draft(tmp_path / suffix, tmp_path / f"d.{suffix}", "y")
        config = load(drafted.folder)
        store = SpanStore(config.home_path)
        report = ingest(config.data.source, config.event_settings(), store)
        assert (300, 0, 0) == (report.rows, report.dead_letters, report.unlabelled)
        found.append((drafted.task, drafted.label.shares, store.table(1).column("y").to_pylist()))
    assert task == found[0][0]
    assert found[0] == found[1]


def test_text_in_parquet_is_read_as_in_csv(tmp_path: Path) -> None:
    """Numbers with marks and times in columns of text become features as those of a CSV file; bytes are not used."""
    columns = {
        "size": ["?" if i % 20 == 0 else f"{i % 37}.5" for i in range(400)],
        "seen": [str(BEGIN + datetime.timedelta(hours=i)) for i in range(400)],
        "blob": [bytes([200, i % 256]) for i in range(400)],
        "code": [f"0{i % 9}" for i in range(400)],
        "y": [i * 7 % 3 % 2 for i in range(400)],
    }
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    del columns["blob"]
    pa.csv.write_csv(pa.table(columns), tmp_path / "d.csv")
    found = [draft.draft(tmp_path / kind, tmp_path / f"d.{kind}", "y") for kind in ("csv", "parquet")]
    for drafted in found:
        assert (["size"], ["code"], ["seen"]) == (
            drafted.columns.numeric,
            drafted.columns.categorical,
            drafted.columns.times,
        )
        assert ["?"] == load(drafted.folder).data.missing
        assert (400, 0) == ingested(drafted.folder)


def test_a_label_of_times_is_refused(tmp_path: Path) -> None:
    """It is neither a class nor a quantity; the next step is one that works."""
    data = tmp_path / "d.csv"
    data.write_text(
        "x,y\n" + "".join(f"{i},{BEGIN + datetime.timedelta(days=i):%Y-%m-%d}\n" for i in range(90))
    )
    with pytest.raises(DataError, match="holds times"):
        draft.draft(tmp_path / "p", data, "y")


def test_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of SQLite becomes a project that runs from where `init` has read; the primary key is the cursor."""
    monkeypatch.chdir(tmp_path)
    connection = sqlite3.connect("rides.db")
    with connection:
        connection.execute("CREATE TABLE rides (id INTEGER PRIMARY KEY, fare REAL, y INTEGER)")
        rows = [(random.Random(i).random(), i % 2) for i in range(400)]
        connection.executemany("INSERT INTO rides (fare, y) VALUES (?, ?)", rows)
    url = "sqlite:///rides.db"
    drafted = draft.draft(tmp_path / "p", url, "y", table="rides")
    assert {"sql": {"url": "sqlite:///../rides.db", "table": "rides", "cursor": "id"}} == load(
        drafted.folder
    ).data.source
    assert any("primary key 'id'" in note for note in drafted.notes)
    assert (drafted.folder / "home" / "landing" / "000001.parquet").exists()
    assert 400 == project_ingest(load(drafted.folder), lambda record: None)["rows"]
    drafted = draft.draft(tmp_path / "q", url, "y", query="SELECT * FROM rides", cursor="id")
    assert 400 == project_ingest(load(drafted.folder), lambda record: None)["rows"]
    for given, words in (({}, "--table"), ({"query": "SELECT 1"}, "--cursor"), ({"table": "none"}, "none")):
        with pytest.raises(NoriaError, match=words):
            draft.draft(tmp_path / "r", url, "y", **given)
    assert not (tmp_path / "r").exists()


def test_a_password_is_not_written(tmp_path: Path) -> None:
    """A password in the URL becomes a variable of the environment."""
    url = "postgresql://noria:s3cr@et@db/rides"
    found = origin(url, tmp_path, tmp_path, None, "SELECT 1", "id")
    assert "postgresql://noria:${NORIA_DB_PASSWORD}@db/rides" == found.given["sql"]["url"]
    assert "NORIA_DB_PASSWORD" in found.notes[0] and "s3cr" not in str(found.notes)
    kept = "postgresql://noria:${OWN}@db/rides"
    assert kept == origin(kept, tmp_path, tmp_path, None, "SELECT 1", "id").given["sql"]["url"]


def test_partitions_and_json(tmp_path: Path) -> None:
    """A partitioned folder of JSON lists becomes a project; its keys are features."""
    for month in range(1, 13):
        folder = tmp_path / "data" / "year=2024" / f"month={month:02}"
        folder.mkdir(parents=True)
        rows = [{"x": random.Random(i * month).random(), "y": i % 2} for i in range(50)]
        (folder / "a.json").write_text(json.dumps(rows, indent=2))
    drafted = draft.draft(tmp_path / "p", tmp_path / "data", "y")
    assert ["x", "month"] == drafted.columns.numeric
    assert (600, 0) == ingested(drafted.folder)


def test_what_has_two_readings_is_told(tmp_path: Path) -> None:
    """1,234 is a thousand or a fraction: a note says which, and --decimal decides otherwise."""
    (tmp_path / "d.csv").write_text(
        "price;y\n" + "".join(f"{i % 7 + 1},{i % 900 + 100};{i % 2}\n" for i in range(400))
    )
    drafted = draft.draft(tmp_path / "p", tmp_path / "d.csv", "y")
    assert any("price: 1,234 is read as 1.234" in note for note in drafted.notes), drafted.notes
    drafted = draft.draft(tmp_path / "q", tmp_path / "d.csv", "y", decimal=".")
    assert not any("1,234" in note for note in drafted.notes)
    config = load(drafted.folder)
    ingest(config.data.source, config.event_settings(), SpanStore(config.home_path))
    store = SpanStore(config.home_path)
    [first] = [next(iter(store.read(1))).to_pydict()["price"][0]]
    assert 1100 == first


def test_a_refusal_has_a_way_on(tmp_path: Path) -> None:
    """Tables seen in public: a series of one quantity, and a table without what is to be predicted."""
    weeks = [BEGIN + datetime.timedelta(weeks=i - 300) for i in range(300)]
    (tmp_path / "co2.csv").write_text(
        ",co2\n" + "".join(f"{at:%Y-%m-%d},{300 + i}\n" for i, at in enumerate(weeks))
    )
    with pytest.raises(DataError, match="earlier values"):
        draft.draft(tmp_path / "p", tmp_path / "co2.csv", "co2", time="column_1")
    (tmp_path / "airports.csv").write_text("iata,name\n00M,Thigpen\n")
    with pytest.raises(ConfigError, match=r"(?s)iata, name.*--label"):
        draft.draft(tmp_path / "p", tmp_path / "airports.csv", None)
    with pytest.raises(DataError, match="needs such a column first"):
        draft.draft(tmp_path / "p", tmp_path / "airports.csv", "delay")


def test_a_project_for_a_stream(tmp_path: Path) -> None:
    """With --log the table is a sample: the project names a log, all columns and types, and the classes."""
    data = table(tmp_path / "d.csv", "size,colour", lambda i, r: (r.random(), r.choice(["red", "blue"])))
    config = load(draft.draft(tmp_path / "p", data, "y", log="events").folder)
    assert (None, {"log": "events"}) == (config.data.source, config.stream.source)
    assert (["size", "colour"], {"size": "float", "colour": "string"}) == (
        config.data.columns,
        config.data.types,
    )
    assert [0, 1] == config.label.classes


def test_the_order_is_that_of_the_time(tmp_path: Path) -> None:
    """A file that is sorted by user has no column that grows if its times are in another order."""
    users = [(f"2024-01-{1 + (7 * i + 3) % 28:02d}", i // 10, i % 10) for i in range(400)]
    data = table(tmp_path / "d.csv", "day,user,size", lambda i, r: users[i])
    assert [] == draft.draft(tmp_path / "p", data, "y", time="day").growing
    assert ["user"] == draft.draft(tmp_path / "q", data, "y").growing


def test_rows_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """`init` counts them with an example, and not those of a column that the project reads as text."""
    rng = random.Random(3)
    zips = [90210 + rng.randint(0, 9) for _ in range(400)]
    rows = [f"{i},{rng.random()},{zips[i]},{rng.randint(0, 1)}" for i in range(400)]
    rows[7] = rows[7] + ",x"
    rows[9] = "9,0.5,90210-1234,1"
    (tmp_path / "d.csv").write_text("\n".join(["n,x,zip_code,y", *rows]) + "\n")
    notes = draft.draft(tmp_path / "p", tmp_path / "d.csv", "y").notes
    expected = "1 rows cannot be read, such as row 8 of d.csv: too many fields: 5, 4 expected"
    assert any(note.startswith(expected) for note in notes)
    assert (399, 1) == ingested(tmp_path / "p")


def test_a_column_that_begins_late_may_be_missing(tmp_path: Path) -> None:
    """The parts of the table in which a column's presence is looked at are parts of the time, not of the file."""
    days = [f"2024-{1 + day // 28:02d}-{1 + day % 28:02d}" for day in range(280)] * 8
    rows = "".join(
        f"{day},{i % 7},{i % 5 if day > '2024-03' else ''},{i % 2}\n" for i, day in enumerate(days)
    )
    (tmp_path / "d.csv").write_text("day,x,late,y\n" + rows)
    draft.draft(tmp_path / "p", tmp_path / "d.csv", "y", time="day")
    asked = {feature.name: feature for feature in loader.load(tmp_path / "p" / "schema.pbtxt").feature}
    assert 0 == asked["late"].presence.min_fraction < asked["x"].presence.min_fraction


def test_a_column_that_ends_early_in_a_small_table(tmp_path: Path) -> None:
    """The schema holds on each span of the table that it comes from."""
    data = table(
        tmp_path / "d.csv", "old,size", lambda i, r: (r.random() if i < 90 else "", i + 9 * r.random()), 118
    )
    drafted = draft.draft(tmp_path / "p", data, "y")
    assert drafted.spans == 2
    schema = loader.load(drafted.folder / "schema.pbtxt")
    [old] = [feature for feature in schema.feature if feature.name == "old"]
    assert old.presence.min_fraction <= 31 / 59


def test_numbers_that_name_things_are_texts(tmp_path: Path) -> None:
    """A user's id and a zip code are categories; what is paid, a number that grows, and `--types` are not."""

    def row(i, r):
        return r.randrange(90), 10_000 + r.randrange(20), r.randrange(50), i // 10, r.randrange(30)

    data = table(tmp_path / "d.csv", "userId,zip_code,paid,batch_id,shop_id", row)
    drafted = draft.draft(tmp_path / "p", data, "y", types={"shop_id": "int"})
    assert ["userId", "zip_code"] == drafted.columns.categorical
    assert ["paid", "batch_id", "shop_id"] == drafted.columns.numeric
    assert {"userId": "string", "zip_code": "string", "shop_id": "int"} == load(drafted.folder).data.types
    assert (400, 0) == ingested(drafted.folder)


def test_many_rows_without_a_label_are_ordinary(tmp_path: Path) -> None:
    """Where most rows have no label as a rule, the data gate gets a threshold above their share."""
    lines = [f"{i % 7},{'' if i % 10 else i % 20 // 10}" for i in range(400)]
    (tmp_path / "d.csv").write_text("\n".join(["x,y", *lines]) + "\n", encoding="utf-8")
    drafted = draft.draft(tmp_path / "p", tmp_path / "d.csv", "y")
    assert 0.95 == load(drafted.folder).gates.data.label_rate.unlabelled
