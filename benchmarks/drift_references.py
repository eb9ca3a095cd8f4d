"""What the product is compared to: a guess, a linear model on the last spans, and cold models of the same network."""

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


def cold(stream: Stream, history: Sequence[pd.DataFrame], upcoming: pd.DataFrame, spans: int) -> np.ndarray:
    """The product's default network, trained from initial weights on the last spans, with a fifth held out."""
    import tensorflow as tf

    from noria.components.trainer import batches, keras_model
    from noria.components.trainer.adam import Adam
    from noria.components.trainer.families import FAMILIES
    from noria.components.trainer.loop import Loop
    from noria.components.trainer.model_inputs import Categorical, Features, embedding_width
    from noria.components.trainer.network import Network
    from noria.components.trainer.reader import Block
    from noria.components.trainer.settings import Settings
    from noria.components.trainer.training_rows import Table

    seen = pd.concat(history[-spans:])
    words = {name: np.unique(seen[name]) for name in stream.features if seen[name].dtype == object}
    numbers = [name for name in stream.features if name not in words]
    features = Features(
        tuple(
            Categorical(name, len(known) + 1, 0, embedding_width(len(known) + 1, 50))
            for name, known in words.items()
        ),
        tuple((name, 1) for name in numbers),
        "label",
    )
    mean, deviation = seen[numbers].mean(), seen[numbers].std()
    deviation = deviation.where(deviation > 1e-5 * mean.abs(), np.inf)

    def block(rows: pd.DataFrame) -> Block:
        ids = [pd.Index(known).get_indexer(rows[name]) for name, known in words.items()]
        ids = [
            np.where(found < 0, len(known), found) for found, known in zip(ids, words.values(), strict=True)
        ]
        scaled = ((rows[numbers] - mean) / deviation).fillna(0.0).to_numpy(np.float32)
        stacked = np.stack(ids, 1).astype(np.int32) if ids else np.zeros((len(rows), 0), np.int32)
        return Block(scaled, stacked, rows["label"].to_numpy(np.float32))

    classes = max(2, int(stream.table["label"].max()) + 1) if stream.task != "regression" else 2
    settings = Settings(task=stream.task, classes=classes)
    keras_model.reset_keras(settings)
    family = FAMILIES.find(settings.family)()
    settings = keras_model.resolved(settings, family)
    network = Network(features, settings, keras_model.build(features, settings, family))
    adam = Adam(network.trainable(), settings)
    loop = Loop(network, adam, tf.distribute.get_strategy(), settings)
    held_out = np.random.default_rng(len(seen)).random(len(seen)) < 0.2
    train, evaluation = (Table(block(seen[rows]), "", settings) for rows in (~held_out, held_out))
    network.start_from_labels(train.labels)
    family.fit_numbers(network.model, np.clip(train.block.numeric, -3, 3), list(range(features.width)))
    adam.start_schedule(settings.learning_rate, 0)
    steps = max(settings.min_steps, batches.steps_of(settings.epochs, train.rows, settings.batch_size))
    loop.train(train, evaluation, start=0, origin=0, steps=steps, warm=False)
    asked = block(upcoming)
    return network.scores(tf.constant(asked.numeric), tf.constant(asked.ids)).numpy()


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
