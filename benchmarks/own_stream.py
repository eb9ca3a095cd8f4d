"""A CSV file in the order of its events, span by span: the project of `noria init` beside LightGBM and a guess.

    python -m benchmarks.own_stream weather.csv label [--rows 1500] [--most 30000] [--drop id,note]

Each span is predicted by the version that serves, before the pipeline learns it. LightGBM learns the last three spans
again for each (without `pip install lightgbm`: scikit-learn's gradient boosting does). Prints a line for each span, and
the summary of `benchmarks.drift`; writes own_stream.json.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import drafted, drift, measure
from benchmarks import drift_product as product
from benchmarks import drift_references as references
from benchmarks import drift_streams as streams


def read(file: Path, label: str, task: str, span: int) -> streams.Stream:
    """The file as a stream; texts of the label become the numbers of the sorted classes."""
    table = pd.read_csv(file).rename(columns={label: "label"})
    if task != "regression":
        table["label"] = np.unique(table["label"].astype(str), return_inverse=True)[1]
    return streams.Stream(file.stem, task, table, span=span)


def follow(file: Path, label: str, span: int) -> dict[str, Any]:
    """Runs the project over the file, and prints each span; its summary and its spans."""
    records = []
    with tempfile.TemporaryDirectory() as scratch:
        name = "".join(letter if letter.isalnum() else "_" for letter in file.stem)
        config = drafted.project(Path(scratch), name, file, label, span={"every": f"rows:{span}"})
        stream = read(file, label, config.label.task, span)
        spans = stream.spans()
        for upcoming, record, served in product.follow(config, stream):
            history, labels = spans[:upcoming], spans[upcoming]["label"].to_numpy()
            answers = {
                "product": served,
                "guess": references.guess(stream, history, spans[upcoming]),
                "boosting": references.boosting(stream, history, spans[upcoming]),
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
    parser.add_argument("file", type=Path, help="CSV file, in the order of its events")
    parser.add_argument("label", help="column to predict")
    parser.add_argument("--rows", type=int, default=1500, help="rows of a span (default: 1500)")
    parser.add_argument("--most", type=int, help="rows to read (default: all)")
    parser.add_argument("--drop", default="", help="columns to leave out, with commas")
    options = measure.options(parser, argv)
    given, machine = options.given, options.machine()
    drop = [name for name in given.drop.split(",") if name]
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch, given.file.name)
        pd.read_csv(given.file, nrows=given.most).drop(columns=drop).to_csv(part, index=False)
        found = follow(part, given.label, given.rows)
    print(found["summary"], flush=True)
    options.save("own_stream", found, machine)


if __name__ == "__main__":
    main()
