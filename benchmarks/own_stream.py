"""A file in the order of its events, span by span: the project of `noria init` beside LightGBM, a line and a guess.

    python -m benchmarks.own_stream weather.csv rain [--time at] [--every rows:1500] [--most 30000] [--drop id,note]

The project is what `noria init` writes; without `--every` it chooses the spans. Each span is predicted by the version
that serves, before the pipeline learns it. LightGBM and a linear model learn the last three spans again for each
(without `pip install lightgbm`: scikit-learn's gradient boosting does). Prints the notes of `noria init`, a line for
each span, and the summary of `benchmarks.drift`; writes own_stream.json.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import drafted, drift, measure
from benchmarks import drift_product as product
from benchmarks import drift_references as references
from benchmarks import drift_streams as streams


@dataclasses.dataclass(frozen=True)
class Cut(streams.Stream):
    """A stream that is cut into spans already.

    Attributes:
      parts: the spans, with the column `label`.
    """

    parts: tuple[pd.DataFrame, ...] = ()

    def spans(self) -> list[pd.DataFrame]:
        return list(self.parts)


def spans_of(config: Any) -> list[pa.Table]:
    """Ingests the project's data; the labelled rows of each span, as the pipeline reads them."""
    from noria.pipeline.runs.ingest import ingest
    from noria.stores.spans import SpanStore

    ingest(config, lambda record: None)
    store = SpanStore(config.home_path)
    tables = [store.table(span) for span in store.ids()]
    return [table.filter(pc.is_valid(table[config.label.column])) for table in tables]


def stream_of(config: Any, tables: Sequence[pa.Table]) -> Cut:
    """The spans for the references: the label in the column `label`, as a class number or a quantity."""
    parts = tuple(table.to_pandas().rename(columns={config.label.column: "label"}) for table in tables)
    return Cut(config.name, config.task, pd.concat(parts), parts=parts)


def follow(config: Any) -> dict[str, Any]:
    """Runs the project over its data, and prints each span; its summary and its spans."""
    tables = spans_of(config)
    stream = stream_of(config, tables)
    spans, records = stream.spans(), []
    rows = [table.drop([config.label.column]) for table in tables]
    for upcoming, record, served in product.follow(config, rows):
        history, labels = spans[:upcoming], spans[upcoming]["label"].to_numpy()
        answers = {
            "product": served,
            "guess": references.guess(stream, history, spans[upcoming]),
            "boosting": references.boosting(stream, history, spans[upcoming]),
            "linear": references.linear(stream, history, spans[upcoming]),
        }
        record["measures"] = {
            who: references.measures(stream.task, labels, given)
            for who, given in answers.items()
            if given is not None
        }
        records.append({"span": upcoming + 1, **record})
        losses = {who: round(found["loss"], 4) for who, found in record["measures"].items()}
        told = {key: record.get(key) for key in ("data", "model", "rescue", "reasons", "failure")}
        print(upcoming + 1, losses, {key: value for key, value in told.items() if value}, flush=True)
    return {"task": stream.task, "summary": drift.summary(records), "spans": records}


def main(argv: Sequence[str] | None = None) -> None:
    """Follows one file."""
    parser = measure.parser(__doc__)
    parser.add_argument("file", type=Path, help="CSV file, in the order of its events or with --time")
    parser.add_argument("label", help="column to predict")
    parser.add_argument("--time", help="column with the time of the event (default: none, the rows' order)")
    parser.add_argument("--every", help="length of a span (default: what `noria init` chooses)")
    parser.add_argument("--most", type=int, help="rows to read (default: all)")
    parser.add_argument("--drop", default="", help="columns to leave out, with commas")
    options = measure.options(parser, argv)
    given, machine = options.given, options.machine()
    name = "".join(letter if letter.isalnum() else "_" for letter in given.file.stem)
    changes = {"span": {"every": given.every}} if given.every else {}
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch, given.file.name)
        table = pd.read_csv(given.file, nrows=given.most, dtype=str, keep_default_na=False)
        table.drop(columns=[name for name in given.drop.split(",") if name]).to_csv(part, index=False)
        config = drafted.project(
            Path(scratch, "drafted"), name, part, given.label, time=given.time, notes=print, **changes
        )
        found = follow(config)
    print(found["summary"], flush=True)
    options.save("own_stream", found, machine)


if __name__ == "__main__":
    main()
