"""What the product is compared to: a guess, a linear model on the last spans, and cold models of the same network."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.drift_streams import Stream

HISTORY = 3  # spans that a reference looks back
BATCH = 256  # as `noria init` sets it for these streams


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


def boosting(stream: Stream, history: Sequence[pd.DataFrame], upcoming: pd.DataFrame) -> np.ndarray:
    """LightGBM with its defaults on the last spans."""
    import lightgbm

    seen, new = pd.concat(history[-HISTORY:])[stream.features], upcoming[stream.features].copy()
    labels = np.concatenate([span["label"].to_numpy() for span in history[-HISTORY:]])
    for name in seen.select_dtypes("object"):
        kind = pd.CategoricalDtype(sorted(seen[name].dropna().unique()))
        seen[name], new[name] = seen[name].astype(kind), new[name].astype(kind)
    if stream.task == "regression":
        return lightgbm.LGBMRegressor(verbose=-1).fit(seen, labels).predict(new)[:, None]
    model = lightgbm.LGBMClassifier(verbose=-1).fit(seen, labels)
    return _of_all_classes(stream, model.classes_, model.predict_proba(new))


class Cold:
    """The product's default network, trained from initial weights on the last spans, with a fifth held out.

    One network for the whole stream, as tracing takes longer than training: each training starts from the same initial
    values. A category that the training rows do not have is unknown.
    """

    def __init__(self, stream: Stream):
        import tensorflow as tf

        from noria.components.trainer import keras_model
        from noria.components.trainer.adam import Adam
        from noria.components.trainer.families import FAMILIES
        from noria.components.trainer.loop import Loop
        from noria.components.trainer.model_inputs import Categorical, Features, embedding_width
        from noria.components.trainer.network import Network
        from noria.components.trainer.settings import Settings

        table = stream.table
        self.words = {name: np.unique(table[name]) for name in stream.features if table[name].dtype == object}
        self.numbers = [name for name in stream.features if name not in self.words]
        self.features = Features(
            tuple(
                Categorical(name, len(known) + 1, 0, embedding_width(len(known) + 1, 50))
                for name, known in self.words.items()
            ),
            tuple((name, 1) for name in self.numbers),
            "label",
        )
        classes = max(2, int(table["label"].max()) + 1) if stream.task != "regression" else 2
        settings = Settings(task=stream.task, classes=classes, batch_size=BATCH)
        keras_model.reset_keras(settings)
        self.family = FAMILIES.find(settings.family)()
        self.settings = keras_model.resolved(settings, self.family)
        model = keras_model.build(self.features, self.settings, self.family)
        self.network = Network(self.features, self.settings, model)
        self.adam = Adam(self.network.trainable(), self.settings)
        self.loop = Loop(self.network, self.adam, tf.distribute.get_strategy(), self.settings)
        self.initial = self.loop.snapshot()

    def scores(self, history: Sequence[pd.DataFrame], upcoming: pd.DataFrame, spans: int) -> np.ndarray:
        """Trains on the last spans; scores `[rows, outputs]` of the upcoming one."""
        import tensorflow as tf

        from noria.components.trainer import batches
        from noria.components.trainer.training_rows import Table

        seen, settings = pd.concat(history[-spans:]), self.settings
        self.loop.restore(self.initial)
        held_out = np.random.default_rng(len(seen)).random(len(seen)) < 0.2
        train, evaluation = (
            Table(self._block(seen[rows], seen), "", settings) for rows in (~held_out, held_out)
        )
        self.network.start_from_labels(train.labels)
        clipped = np.clip(train.block.numeric, -3, 3)
        self.family.fit_numbers(self.network.model, clipped, list(range(self.features.width)))
        self.adam.start_schedule(settings.learning_rate, 0)
        steps = max(settings.min_steps, batches.steps_of(settings.epochs, train.rows, settings.batch_size))
        self.loop.train(train, evaluation, start=0, origin=0, steps=steps, warm=False)
        asked = self._block(upcoming, seen)
        return self.network.scores(tf.constant(asked.numeric), tf.constant(asked.ids)).numpy()

    def _block(self, rows: pd.DataFrame, fit: pd.DataFrame) -> Any:
        """Rows as the network's inputs, scaled and coded by `fit`: a reader.Block."""
        from noria.components.trainer.reader import Block

        ids = []
        for name, known in self.words.items():
            codes = pd.Index(known).get_indexer(rows[name])
            codes[~rows[name].isin(fit[name].unique()).to_numpy()] = len(known)
            ids.append(codes)
        mean, deviation = fit[self.numbers].mean(), fit[self.numbers].std()
        deviation = deviation.where(deviation > 1e-5 * mean.abs(), np.inf)
        scaled = ((rows[self.numbers] - mean) / deviation).fillna(0.0).to_numpy(np.float32)
        stacked = np.stack(ids, 1).astype(np.int32) if ids else np.zeros((len(rows), 0), np.int32)
        return Block(scaled, stacked, rows["label"].to_numpy(np.float32))


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
            parts.append((rows[name].to_numpy()[:, None] == np.unique(fit[name])).astype(float))
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
