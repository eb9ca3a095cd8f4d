"""DataGate's thresholds: what the config's `gates.data` says, with a default that cites its measurement.

The evidence is the flights of 2013 in 53 weekly spans, each against the week before (`benchmarks/gates.py` repeats it):
features that a timetable fixes (airline, airports, distance, seats, hours) never passed PSI 0.05 or L-infinity 0.03;
weather has a median PSI of 0.1 to 2 and is tagged `volatile` in the schema.
"""

import dataclasses
import json
from typing import Any

from noria.core.errors import ConfigError, did_you_mean

MEASURES = ("linf", "js", "kl", "psi")


@dataclasses.dataclass(frozen=True)
class Volume:
    """Rows per hour of event time against the median of the last accepted spans.

    Attributes:
      low: below this share the span is `broken`. Ordinary weeks: 0.93 to 1.08; half of the rows missing: 0.5.
      drifted: below this share it is `drifted`.
      high: above this multiple it is `drifted`: a stream may grow.
    """

    low: float = 0.65
    drifted: float = 0.8
    high: float = 2.0


@dataclasses.dataclass(frozen=True)
class LabelRate:
    """The label's mean against the references, in absolute terms (for classes: the largest change of a share).

    Attributes:
      change: above this the span is `drifted`. The share of late flights moves by up to 0.25 from week to week,
        in one week of ten by more than 0.15.
      broken: above this it is `broken`; all labels flipped would be a change of 0.5 in an ordinary week.
      unlabelled: share of rows without a label that makes it `drifted`; ordinary weeks: 0.005 to 0.16. Twice that
        is `broken`.
    """

    change: float = 0.2
    broken: float = 0.4
    unlabelled: float = 0.3


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """All of the gate's thresholds. A measure with None is reported and does not judge.

    Attributes:
      linf: L-infinity of categorical features. Ordinary maximum of stable ones: 0.024.
      js: Jensen-Shannon divergence of numeric features, base 2. Ordinary maximum: 0.12 (seats).
      kl: Kullback-Leibler divergence, nats. None: PSI holds it already, in both directions.
      psi: population stability index; 0.25 is Siddiqi's "major shift". Ordinary maximum of stable features: 0.05.
      stable_psi: PSI of a feature tagged `stable` above which the span is `broken`: 20 times the ordinary maximum.
      features: thresholds of single features: name → measure → threshold.
      ignore: features that are not compared at all.
      volume: None for no check.
      label_rate: None for no check.
      out_of_range: share of values outside the schema's range that is tolerated as outliers.
      stuck: rise of one value's share of the rows, from below a quarter, that makes a numeric feature `broken` as
        stuck; two thirds of it make it `drifted`. Ordinary weeks stay below 0.2; one airport of three: 0.35.
      association: share of its former Cramér's V below which a pair of categories is `broken` as shuffled; ordinary
        minimum: 0.86.
      slices: change of one value's log odds against all others that makes the span `broken` as mislabelled, if it
        is 6 standard errors as well and its correlations with the features changed; three quarters of it make it
        `drifted`. Ordinary maximum, with correlations as before: 1.4. A flipped airline: 1.0 to 5.
      overlap: share of the span's time range that an older accepted span may cover.
      late_start: share of a period by which a span may begin late. Ordinary weeks: 0.01; a clock that was a day ahead
        when the weeks were cut: 0.14.
    """

    linf: float | None = 0.1
    js: float | None = 0.2
    kl: float | None = None
    psi: float | None = 0.25
    stable_psi: float | None = 1.0
    features: dict[str, dict[str, float | None]] = dataclasses.field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    volume: Volume | None = Volume()
    label_rate: LabelRate | None = LabelRate()
    out_of_range: float = 0.001
    stuck: float | None = 0.3
    association: float | None = 0.5
    slices: float | None = 1.4
    overlap: float | None = 0.1
    late_start: float | None = 0.1

    @classmethod
    def from_json(cls, text: str) -> "Thresholds":
        """Reads the exec property `gate`.

        Raises:
          ConfigError: not a JSON object, an unknown key, or a threshold that is no number or below 0.
        """
        try:
            values = json.loads(text or "{}")
        except ValueError as error:
            raise ConfigError(f"gates.data must be a JSON object, got {text!r}") from error
        values = {key: value for key, value in values.items() if key not in CONTEXT}
        _known(values, cls, "gates.data")
        for name, kind in (("volume", Volume), ("label_rate", LabelRate)):
            if isinstance(values.get(name), dict):
                _known(values[name], kind, f"gates.data.{name}")
                values[name] = kind(**{key: _number(value, key) for key, value in values[name].items()})
        features = values.get("features") or {}
        for feature, measures in features.items():
            for measure, value in measures.items():
                if measure not in MEASURES:
                    raise _unknown(measure, MEASURES, f"gates.data.features.{feature}")
                _number(value, f"features.{feature}.{measure}")
        values["features"] = features
        values["ignore"] = tuple(values.get("ignore") or ())
        for field in dataclasses.fields(cls):
            value = values.get(field.name)
            if field.name not in ("features", "ignore", "volume", "label_rate") and value is not None:
                _number(value, field.name)
        return cls(**values)


# What the same JSON object may say about the project besides thresholds.
CONTEXT = ("label", "task", "time", "every")


def _known(values: dict[str, Any], kind: type, where: str) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    for key in values:
        if key not in names:
            raise _unknown(key, names, where)


def _unknown(key: str, names: list[str] | tuple[str, ...], where: str) -> ConfigError:
    hint = did_you_mean(key, names) or f"known keys: {', '.join(names)}"
    return ConfigError(f"unknown key {key!r}", where=where, next_step=hint)


def _number(value: Any, name: str) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
        raise ConfigError(f"{name} must be a number of at least 0, got {value!r}", where="gates.data")
    return value
