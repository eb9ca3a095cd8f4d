"""`noria init`: a project's files, drafted from a table."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from noria.core import files
from noria.core.errors import ConfigError, DataError
from noria.core.tasks import TASKS
from noria.ingestion import conversion, tables
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.formats import TextTable
from noria.pipeline.config import NAME_LENGTH, load
from noria.pipeline.init import flat, inference, leaks, row_order, time_formats
from noria.pipeline.init.origin import Origin, origin
from noria.pipeline.runs.ingest import LANDING

TEMPLATES = Path(__file__).with_name("templates")
FILES = ("noria.yaml", "schema.pbtxt", "preprocessing.py", "README.md", ".dockerignore")
# More rows do not change the draft, and it should take seconds.
ROWS = 1_000_000
# Characters of a feature's name at most: files are called after it, with an ending.
LONGEST = 100
# The base rate's share in scores of a table whose rows have no order: it shows no change against which to protect.
RANDOM_SHARE = 0.001
# Half of the share above which the data gate calls a span drifted, if `gates.data.label_rate.unlabelled` is not set.
MANY_UNLABELLED = 0.15
# One run learns such a table, so its network may take twice the time: docs/decisions/0018. Not of wide tables, whose
# first layer is large.
RANDOM_UNITS, MOST_FEATURES = (192, 192), 100


@dataclasses.dataclass(frozen=True)
class Draft:
    """What was inferred, for the summary that people and machines read."""

    folder: Path
    rows: int
    task: str
    label: inference.LabelProfile
    columns: inference.Columns
    time: str | None
    every: str
    spans: int
    random: bool
    growing: list[str]
    yearly: list[str]
    notes: list[str]

    @property
    def first(self) -> int:
        """Spans of the first, cold run; of rows in random order all, as they hold nothing to follow."""
        return _first(self.spans, self.random)

    @property
    def features(self) -> list[str]:
        return [*self.columns.numeric, *self.columns.categorical, *self.columns.times]

    def to_json(self) -> dict[str, Any]:
        """The object that `noria init --json` prints."""
        return {
            "project": str(self.folder),
            "files": [str(self.folder / name) for name in FILES],
            "rows": self.rows,
            "task": self.task,
            "classes": self.label.classes,
            "shares": self.label.shares,
            "unlabelled": self.label.missing,
            "time": self.time,
            "span": self.every,
            "spans": self.spans,
            "random_order": self.random,
            "growing": self.growing,
            "yearly": self.yearly,
            "numeric": self.columns.numeric,
            "categorical": self.columns.categorical,
            "times": self.columns.times,
            "slices": self.columns.slices,
            "key": self.columns.key,
            "left_out": self.columns.left_out,
            "notes": self.notes,
        }


def draft(
    folder: Path,
    data: str | Path,
    label: str | None,
    *,
    table: str | None = None,
    query: str | None = None,
    cursor: str | None = None,
    time: str | None = None,
    time_format: str | None = None,
    task: str | None = None,
    key: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    header: Sequence[str] = (),
    missing: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    log: str | None = None,
) -> Draft:
    """Writes a project for a table.

    Args:
      folder: the new project; it may exist, but not with a project's files in it.
      data: a CSV, JSON or Parquet file, a folder or a glob of them, a URL of files, or a URL of SQLAlchemy.
      label: the column to predict; None: the error names the columns.
      table, query, cursor: what to read from a database, and the column that only grows.
      time: the column with the events' time; None for row order.
      time_format: how it is written, a format of `strptime`; None to find it.
      task: `binary`, `multiclass` or `regression`; None to infer it.
      key: columns that identify an event.
      delimiter: of CSV files; None to detect it.
      encoding: of text files; None to detect it.
      decimal: the decimal sign of numbers in text; None to detect it.
      header: the columns' names, if the CSV files have no line with them.
      missing: further texts that mean "missing".
      types: types of columns that are not to be inferred.
      drop: columns to leave out.
      log: folder of an event log; the project reads its events from there, and `data` is a sample of them.

    Raises:
      ConfigError: the folder holds a project already, or the task is unknown.
      DataError: the table cannot be read, a named column is missing, or the label cannot be learned.
    """
    _refuse_overwriting(folder)
    if task is not None and task not in TASKS:
        raise ConfigError(
            f"the task must be one of {', '.join(TASKS)}, got {task!r}",
            where="--task",
            next_step="omit --task to infer it from the label",
        )
    with _beside(folder) as beside:
        found = origin(str(data), folder, beside / LANDING, table, query, cursor)
        source = tables.open_tables(
            found.source.find(),
            delimiter=delimiter,
            encoding=encoding,
            missing=missing,
            decimal=decimal,
            header=header,
            name=found.source.name,
        )
        reading = {"delimiter": delimiter, "encoding": encoding, "decimal": decimal, "header": list(header)}
        return _drafted(
            folder,
            beside,
            found,
            source,
            label,
            time,
            time_format,
            task,
            _each(key, source[0].columns),
            reading,
            missing,
            types or {},
            _each(drop, source[0].columns),
            log,
        )


def _each(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The columns that are named; `a,b` means two of them where no column has this name."""
    return [part for name in names for part in ([name] if name in columns else name.split(","))]


def _drafted(
    folder: Path,
    beside: Path,
    found: Origin,
    source: Sequence[tables.Table],
    label: str | None,
    time: str | None,
    time_format: str | None,
    task: str | None,
    key: Sequence[str],
    reading: dict[str, Any],
    missing: Sequence[str],
    types: Mapping[str, str],
    drop: Sequence[str],
    log: str | None,
) -> Draft:
    dropped = {name: "dropped with --drop" for name in drop} | flat.unreadable(source)
    if label is None:
        raise ConfigError(
            "the column to predict is not named",
            where=f"{source[0].name}: columns {', '.join(source[0].columns)}",
            next_step="name it with --label; a table without such a column needs one first, such as what happened "
            "after the time of each row",
        )
    texts, marks, no_texts = flat.typed_texts(source, {*types, *([time] if time else [])})
    # Ingestion reads a label by itself, and needs no type for it.
    label_type = {label: texts.pop(label)} if label in texts else {}
    dropped |= no_texts
    types = {**types, **{name: column_type for name, column_type in texts.items() if name not in dropped}}
    for name in (label, *([time] if time else []), *key, *drop, *types):
        if name not in source[0].columns:
            error = tables.missing_column(name, source[0], ())
            step = "name one of these columns"
            if name == label:
                step += "; a table without what is to be predicted needs such a column first"
            if isinstance(source[0], TextTable):
                step += "; if the first line is a row and no header, give all names with --header"
            raise DataError(error.what, where=error.where, next_step=step)
    if label in (time, *key):
        raise ConfigError(
            f"column {label!r} cannot be the label and the time or the key",
            where="--label",
            next_step="name another column: --label is what to predict; --time and --key are known before",
        )
    if taken := {label, time, *key} & set(dropped):
        name = sorted(map(str, taken))[0]
        raise ConfigError(
            f"column {name!r} cannot be used: {dropped[name]}",
            where="--label, --time or --key",
            next_step="name another column",
        )
    marks |= flat.marks(source, [name for name in source[0].columns if name not in dropped], types)
    missing = tuple(dict.fromkeys([*missing, *marks]))
    flat.declare_missing(source, missing)
    kept = [name for name in source[0].columns if name not in dropped]
    for table in source:
        if lacking := [name for name in kept if name not in table.columns and not table.may_lack_columns]:
            error = tables.missing_column(lacking[0], table, kept)
            raise DataError(
                error.what, where=error.where, next_step="rename it in the data, or leave it out with --drop"
            )
    column_types = tables.columns_of(
        source, wanted=kept, types=conversion.resolved({**types, **label_type}, folder)
    )
    letters = DeadLetters(None, "table", "")
    try:
        table = tables.read_table(source, limit=ROWS, columns=column_types, missing=missing, letters=letters)
    except DataError as error:
        step = 'or leave a column out with --drop, give its type with --types, or a text for "missing" with --missing'
        raise DataError(error.what, where=error.where, next_step=f"{error.next_step}; {step}") from error
    if not len(table):
        raise DataError(
            "the table has a header but no rows", where=found.name, next_step="give data with rows"
        )

    if column_types[label].is_time:
        raise DataError(
            "the label holds times, which are neither classes nor a quantity",
            where=f"{found.name}, column {label!r}",
            next_step="derive a quantity such as the hours until it, or name another column with --label",
        )
    if time and column_types[time].name == "clock":
        raise DataError(
            "the time column holds times of day without a date",
            where=f"{found.name}, column {time!r}",
            next_step="name a column that has the date with --time, or omit --time to use the row order",
        )
    boolean = column_types[label].name == "bool"
    profile = inference.label(table.column(label), label, task, boolean)
    apart = {label, *([time] if time else []), *types}
    written = flat.written_times(table, column_types, apart)
    seconds, forms = None, tuple[str, ...]()
    if time:
        day_first = time_formats.day_first(list(written.values()))
        seconds, forms = time_formats.event_times(table.column(time), time, time_format, day_first)
    form = forms[0] if forms else None
    if time and seconds is not None:
        flat.refuse_times_of_no_event(time, seconds, form)
    day_first = time_formats.day_first([forms, *written.values()])
    written = {name: time_formats.preferred(each, day_first) for name, each in written.items()}
    table, further, mixed = flat.further_times(table, column_types, apart, written)
    types = {**types, **further}
    moments = [*(name for name, column_type in column_types.items() if column_type.is_time), *further]
    order = None
    if seconds is not None and len(seconds) == len(table):  # else some rows have no time
        order = pa.array(np.argsort(seconds, kind="stable"))
    in_order = table if order is None else table.take(order)
    decided = {label, *([time] if time else []), *key}
    table, in_order, references = flat.foreign_keys(table, in_order, {*decided, *types})
    types = {**types, **dict.fromkeys(references, "string")}
    words = [
        field.name for field in table.schema if pa.types.is_string(field.type) and field.name not in decided
    ]
    transient = [] if order is None else row_order.transient(in_order, words)
    columns = inference.columns(table, label, time, key, moments, mixed, transient)
    clock = seconds is not None and time_formats.varies(seconds)
    if not clock and not columns.numeric and not columns.categorical and not columns.times:
        raise DataError(
            f"no column of the table can be a feature: {json.dumps(columns.left_out)}",
            where=found.name,
            next_step="add columns that are known before the label is; for a series of one quantity, its earlier "
            "values (in pandas: frame['last'] = frame['value'].shift(1))",
        )
    features = [*columns.numeric, *columns.categorical]
    random = seconds is None and row_order.is_random(table, label, features)
    growing = row_order.growing(in_order, columns.numeric)
    coded = inference.encoded(table.column(label), profile)
    given_away = leaks.found(table, coded, features, profile.task != "regression")
    every, spans = inference.span_length(seconds, len(table), random)
    window = _first(spans, random) / spans
    yearly = [name for name in columns.times if time_formats.covers_a_year(in_order[name], window)]
    if seconds is not None and time_formats.covers_a_year(pa.chunked_array([np.sort(seconds)]), window):
        assert time is not None, "seconds are read from its column"
        yearly.append(time)
    drafted = Draft(
        folder=folder,
        rows=len(table),
        random=random,
        growing=growing,
        yearly=yearly,
        task=profile.task,
        label=profile,
        columns=columns,
        time=time,
        every=every,
        spans=spans,
        notes=[
            *found.notes,
            *(note for each in source for note in each.notes),
            *flat.unread(letters, references),
            *flat.ambiguous(source, column_types),
            *flat.bounds(source, column_types),
            *flat.notes(marks, dropped, forms, columns.times, written, yearly, texts, references),
            *flat.far_past(time, seconds),
            *leaks.notes(given_away),
            *_notes(table, profile, spans, seconds),
            *row_order.notes(table.column(label), profile.task, time),
            *([row_order.GROWING.format(", ".join(growing))] if growing else []),
            *([row_order.RANDOM.format(every=every)] if random else []),
        ],
    )
    reading = {
        **reading,
        "missing": list(missing),
        "types": dict(types),
        "keep": [name for name in kept if name not in (label, time)] if dropped or log else None,
        "log": log,
    }
    if log is not None:
        # The first events of a stream fix its columns permanently, and may not have all of them.
        inferred = {
            name: column_type.name for name, column_type in column_types.items() if name not in (label, time)
        }
        reading["types"] = {
            name: column_type for name, column_type in inferred.items() if column_type != "empty"
        } | dict(types)
    _write(drafted, beside, found, label, form, reading, _event_table(table, label, coded, time, form, order))
    return drafted


def _first(spans: int, random: bool) -> int:
    return spans if random else max(1, min(4, spans // 3))


def _refuse_overwriting(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            "the project must be a folder, and this is a file", where=folder, next_step="name another one"
        )
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise ConfigError(
            f"there is a project already: {', '.join(there)} would be overwritten",
            where=folder,
            next_step="name another folder, or move these files away",
        )


def _notes(table: pa.Table, profile: inference.LabelProfile, spans: int, seconds: Any) -> list[str]:
    notes = []
    if profile.missing:
        notes.append(f"{profile.missing:,} rows have no label; they are counted and not trained on")
    if profile.shares and min(profile.shares.values()) < 0.02:
        rarest = min(profile.shares, key=lambda name: profile.shares[name])
        notes.append(
            f"class {rarest!r} is rare ({profile.shares[rarest]:.2%}): use longer spans to evaluate it"
        )
    if len(table) / spans < 200:
        notes.append(f"only about {len(table) // spans} rows per span: verdicts will be uncertain")
    if seconds is not None and len(seconds) < len(table):
        notes.append(f"{len(table) - len(seconds):,} rows have no time; they go to the dead letters")
    return notes


def _event_table(
    table: pa.Table,
    label: str,
    coded: pa.Array,
    time: str | None,
    form: str | None,
    order: pa.Array | None,
) -> pa.Table:
    """The table as the span store holds it: the label as numbers, the time as epoch seconds, in the order of time."""
    from noria.ingestion import times

    def put(name: str, values: pa.Array) -> None:
        nonlocal table
        table = table.set_column(table.column_names.index(name), name, values)

    put(label, coded)
    if time:
        put(time, times.parse(table.column(time).combine_chunks(), form)[0])
    return table if order is None else table.take(order)


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A staging folder beside the project, so that this is complete or does not exist."""
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=parent))
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be made: {error.strerror}",
            where=folder,
            next_step="name a folder that you can write to",
        ) from error
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(
    drafted: Draft,
    beside: Path,
    found: Origin,
    label: str,
    form: str | None,
    reading: dict[str, Any],
    table: pa.Table,
) -> None:
    from noria.pipeline.init import schema_inference
    from noria.schemas import loader  # TensorFlow takes seconds; after all cheap checks

    values = _values(drafted, found, label, form, reading)
    for name in FILES:
        if name != "schema.pbtxt":
            (beside / name).write_text(_rendered(f"{name.removeprefix('.')}.jinja", values), encoding="utf-8")
    schema = schema_inference.infer(
        table, label, drafted.time, [*drafted.columns.key, *drafted.columns.times, *drafted.growing]
    )
    loader.save(schema, beside / "schema.pbtxt")
    load(beside)  # the written project must be valid
    drafted.folder.mkdir(exist_ok=True)
    landing = drafted.folder / "home" / LANDING
    if (beside / LANDING).exists() and not landing.exists():
        landing.parent.mkdir(exist_ok=True)
        os.replace(beside / LANDING, landing)  # so the first run does not copy it again
    for name in (*FILES[1:], FILES[0]):  # the YAML file last: it makes the folder a project
        files.commit_file(beside / name, drafted.folder / name)


def _values(
    drafted: Draft, found: Origin, label: str, form: str | None, reading: dict[str, Any]
) -> dict[str, Any]:
    rows_a_span = max(1, drafted.rows // drafted.spans)
    unlabelled = drafted.label.missing / drafted.rows
    # Features that the template makes from the time.
    cycles, ends = ("of_day", "of_week", "of_year"), ("sin", "cos")
    taken = {label, *(f"time_{cycle}_{end}" for cycle in cycles for end in ends)}
    taken |= {"time"} if drafted.time else set()
    moments = {_feature(name, taken): name for name in drafted.columns.times}
    taken |= {f"{name}_{cycle}_{end}" for name in moments for cycle in cycles for end in ends}
    taken |= {f"{name}_since" for name in moments}
    numeric = {_feature(name, taken): name for name in drafted.columns.numeric}
    return {
        "name": project_name(drafted.folder),
        "data_name": found.name,
        "source": found.given,
        **reading,
        "label": label,
        "task": drafted.task,
        # A stream must name its classes; 0 and 1 are also read from no and yes, and from false and true.
        "classes": drafted.label.classes or ([0, 1] if reading["log"] and drafted.task == "binary" else None),
        "shares": drafted.label.shares,
        "unlabelled": drafted.label.missing,
        "time": drafted.time,
        "time_format": form,
        "key": drafted.columns.key,
        "every": drafted.every,
        "spans": drafted.spans,
        "rows": f"{drafted.rows:,}",
        "first": drafted.first,
        "cold": max(8, drafted.spans) if drafted.random else 8,
        "base_rate_share": RANDOM_SHARE if drafted.random and drafted.task != "regression" else None,
        "hidden_units": RANDOM_UNITS if drafted.random and len(drafted.features) <= MOST_FEATURES else None,
        "slices": drafted.columns.slices,
        "min_examples": max(20, min(200, rows_a_span // 50)),
        # One run learns a table in random order, so rows held out are rows lost: 400 tell enough. On the same four
        # fifths of a table LightGBM's loss, too, is up to a tenth above that on all of it.
        "eval_share": round(max(0.05, min(0.2, 400 / drafted.rows)), 3) if drafted.random else 0.2,
        "batch_size": 256 if rows_a_span >= (10_000 if drafted.random else 2_000) else 64,
        "first_run": "bless" if drafted.task == "regression" else "thresholds",
        "numeric": numeric,
        "gaps": [name for name, column in numeric.items() if column in drafted.columns.gaps],
        "categorical": {_feature(name, taken): name for name in drafted.columns.categorical},
        "times": moments,
        "random": drafted.random,
        "yearly": {
            name: column
            for name, column in {**({"time": drafted.time} if drafted.time else {}), **moments}.items()
            if column in drafted.yearly
        },
        "left_out": drafted.columns.left_out,
        # Where many rows have no label as a rule, the gate's default would stop each span.
        "most_unlabelled": round((1 + unlabelled) / 2, 2) if unlabelled > MANY_UNLABELLED else None,
        # A column that identifies the row has new values in every span, which is not drift.
        "ignore": [
            *(name for name in drafted.columns.left_out if name not in drafted.columns.constant),
            *drafted.columns.times,
            *drafted.growing,
        ],
    }


def _feature(column: str, taken: set[str]) -> str:
    """A column's name as the name of a feature and of a vocabulary file, not used yet.

    TensorFlow's scopes take ASCII only: letters lose their accents, other scripts become `column`.
    """
    plain = unicodedata.normalize("NFKD", column.replace("ß", "ss")).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", plain).strip("_")[:LONGEST] or "column"
    while name in taken or f"{name}_missing" in taken:
        name += "_"
    taken.update((name, f"{name}_missing"))
    return name


def project_name(folder: Path) -> str:
    """A folder's name as a project's: lower-case letters, digits and hyphens, first a letter, not too long."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")
    name = name if name[:1].isalpha() else f"project-{name}"
    return name[:NAME_LENGTH].rstrip("-")


def _rendered(template: str, values: dict[str, Any]) -> str:
    """A file of the draft. A template and no YAML library: the draft's comments and its layout are for people."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # YAML, Python and Markdown, not HTML; values go through `q` and `py`
    )
    environment.filters["q"] = lambda value: json.dumps(value, ensure_ascii=False)  # JSON is YAML
    environment.filters["py"] = _python
    environment.filters["oneline"] = lambda value: " ".join(str(value).split())
    return environment.get_template(template).render(values)


def _python(value: Any) -> str:
    """A Python literal as ruff formats it: a mapping has one entry per line."""
    if isinstance(value, dict):
        if not value:
            return "{}"
        return "{\n" + "".join(f"    {_python(k)}: {_python(v)},\n" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
