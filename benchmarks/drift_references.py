"""What the product is compared to, trained again for each span: a guess, a linear model, gradient boosting."""

import importlib.util
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.drift_streams import Stream

HISTORY = 3  # spans that a reference looks back


def guess(stream: Stream, history: Sequence[pd.DataFrame], upcoming: pd.DataFrame) -> np.ndarray:
    """The base rate of the last spans, or their mean: `[rows, outputs]` as the product's scores."""
    labels = np.concatenate([span["label"].to_numpy() for span in history[-HISTORY:]])
    if stream.task == "regression":
        return np.full((len(upcoming), 1), labels.mean())
    classes = int(stream.table["label"].max()) + 1
    shares = (np.bincount(labels, minlength=classes) + 1.0) / (len(labels) + classes)
    if stream.task == "binary":
        shares = shares[1:]
    return np.tile(shares, (len(upcoming), 1))


def linear(stream: Stream, history: Sequence[pd.DataFrame], upcoming: pd.DataFrame) -> np.ndarray:
    """Logistic or ridge regression on the last spans: clipped z-scores and one-hot categories."""
    from sklearn.linear_model import LogisticRegression, Ridge

    seen = pd.concat(history[-HISTORY:])
    x, new = _matrix(stream, seen), _matrix(stream, upcoming, seen)
    labels = seen["label"].to_numpy()
    if stream.task == "regression":
        return Ridge().fit(x, labels).predict(new)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(max_iter=200).fit(x, labels)
    return _of_all_classes(stream, model.classes_, model.predict_proba(new))


def boosting(
    stream: Stream, history: Sequence[pd.DataFrame], upcoming: pd.DataFrame, spans: int = HISTORY
) -> np.ndarray:
    """LightGBM with its defaults on the last spans; without it, scikit-learn's gradient boosting."""
    seen, new = pd.concat(history[-spans:])[stream.features], upcoming[stream.features].copy()
    labels = np.concatenate([span["label"].to_numpy() for span in history[-spans:]])
    for name in seen.select_dtypes("object"):
        kind = pd.CategoricalDtype(sorted(seen[name].dropna().unique()))
        seen[name], new[name] = seen[name].astype(kind), new[name].astype(kind)
    if importlib.util.find_spec("lightgbm") is not None:
        import lightgbm

        # One thread: several wait for each other in a loop, which takes minutes beside other work.
        options = {"verbose": -1, "n_jobs": 1}
        regressor, classifier = lightgbm.LGBMRegressor(**options), lightgbm.LGBMClassifier(**options)
    else:
        from sklearn import ensemble

        seen, new = (
            part.assign(**{name: part[name].cat.codes for name in part.select_dtypes("category")})
            for part in (seen, new)
        )
        regressor = ensemble.HistGradientBoostingRegressor(random_state=0)
        classifier = ensemble.HistGradientBoostingClassifier(random_state=0)
    if stream.task == "regression":
        return regressor.fit(seen, labels).predict(new)[:, None]
    model = classifier.fit(seen, labels)
    return _of_all_classes(stream, model.classes_, model.predict_proba(new))


def _of_all_classes(stream: Stream, known: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Scores `[rows, known classes]` as `[rows, outputs]`; a class that was not seen gets almost nothing."""
    every = np.full((len(scores), int(stream.table["label"].max()) + 1), 1e-6)
    every[:, known] = scores
    return every[:, 1:] if stream.task == "binary" else every / every.sum(1, keepdims=True)


def _matrix(stream: Stream, rows: pd.DataFrame, fit: pd.DataFrame | None = None) -> np.ndarray:
    """Inputs `[rows, columns]`, scaled and coded by the rows of `fit`."""
    fit = rows if fit is None else fit
    parts = []
    for name in stream.features:
        if rows[name].dtype == object:
            parts.append((rows[name].to_numpy()[:, None] == np.unique(fit[name].dropna())).astype(float))
            continue
        mean, deviation = fit[name].mean(), fit[name].std()
        if not deviation > 1e-5 * abs(mean):
            continue
        parts.append(np.clip((rows[name].fillna(mean).to_numpy() - mean) / deviation, -3, 3)[:, None])
    return np.concatenate(parts, 1)


def measures(task: str, labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Of scores `[rows, outputs]`: `loss` (nats, or squared error) and AUC, or RMSE and MAE."""
    from sklearn.metrics import roc_auc_score

    if task == "regression":
        error = scores[:, 0] - labels
        return {
            "loss": float(np.square(error).mean()),
            "rmse": float(np.sqrt(np.square(error).mean())),
            "mae": float(np.abs(error).mean()),
        }
    tiny = 1e-15
    if task == "binary":
        score = np.clip(scores[:, 0].astype(np.float64), tiny, 1 - tiny)
        loss = -np.where(labels == 1, np.log(score), np.log1p(-score))
        found = {"loss": float(loss.mean())}
        return found | ({"auc": float(roc_auc_score(labels, scores[:, 0]))} if 0 < labels.mean() < 1 else {})
    right = np.take_along_axis(scores, labels[:, None].astype(int), 1)[:, 0].astype(np.float64)
    present = np.unique(labels)
    areas = [roc_auc_score(labels == one, scores[:, one]) for one in present]
    return {"loss": float(-np.log(np.clip(right, tiny, 1)).mean()), "auc": float(np.mean(areas))}
