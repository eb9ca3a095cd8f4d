"""Ten made-up streams for the data gate: seasons, price levels, new shops, abrupt concepts. All ordinary, none broken.

Each span is a plain function of a seed and of its number, so a stream can be made again.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa

DAY, WEEK = 86_400, 604_800
MONDAY = 1_704_067_200  # 2024-01-01
CITIES = ["Köln", "Zürich", "Málaga", "Łódź", "Berlin", "Paris", "Porto", "Gent", "Oslo", "Bern"]


@dataclasses.dataclass(frozen=True)
class Stream:
    """One stream.

    Attributes:
      name: short, for tables.
      task: `binary`, `multiclass` or `regression`; the label is `y`.
      every: as `span.every`; the event time is `t`, where there is one.
      make: (random numbers, number of the span) → columns.
      number: a continuous feature; `source`: a category, each value of which is a source; `pair`: a category that goes
        with the source, or empty.
      timed: whether there is an event time.
    """

    name: str
    task: str
    every: str
    make: Callable[[np.random.Generator, int], dict]
    number: str
    source: str
    pair: str = ""
    timed: bool = True

    def span(self, seed: int, number: int) -> pa.Table:
        """The rows of one span, by time."""
        made = pa.table(self.make(np.random.default_rng([seed, number]), number))
        return made.sort_by("t") if self.timed else made


def _times(random: np.random.Generator, n: int, start: int, length: int) -> np.ndarray:
    """Event times with a daily cycle: most of them around 14:00."""
    days = max(length // DAY, 1)
    clock = (14 + 4 * random.standard_normal(n)) % 24
    return start + random.integers(0, days, n) * DAY + (clock * 3600).astype(np.int64)


def _label(random: np.random.Generator, odds: np.ndarray) -> np.ndarray:
    return (random.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(np.int64)


def _sales(random: np.random.Generator, i: int) -> dict:
    n = random.poisson(500 if i % 7 < 5 else 900)
    city = random.choice(CITIES, n)
    group = np.where(random.random(n) < 0.7, np.char.add("g", np.char.str_len(city).astype(str)), "g9")
    price = random.gamma(3, 10 * 1.005**i, n)
    return {
        "t": _times(random, n, MONDAY + i * DAY, DAY),
        "city": city,
        "group": group,
        "price": price,
        "items": random.poisson(2, n) + 1,
        "y": _label(random, -1.5 + 0.03 * (price - 30) + 0.5 * np.isin(city, CITIES[:3])),
    }


def _air(random: np.random.Generator, i: int) -> dict:
    n = 600
    hours = np.repeat(np.arange(24), n // 24)[: n - n % 24]
    n = len(hours)
    station = np.tile(CITIES, n // 10 + 1)[:n]
    temp = (
        12 - 10 * np.cos(2 * np.pi * i / 365) + 4 * np.sin((hours - 9) / 24 * 6.28) + random.normal(0, 3, n)
    )
    wind = random.gamma(2, 2 * np.exp(random.normal(0, 0.3)), n)
    return {
        "t": MONDAY + i * DAY + hours * 3600 + random.integers(0, 3600, n),
        "station": station,
        "temp": temp,
        "wind": wind,
        "rain": np.where(random.random(n) < 0.8, 0.0, random.exponential(2, n)),
        "y": 40 - temp + 20 / (1 + wind) + random.normal(0, 5, n),
    }


def _churn(random: np.random.Generator, i: int) -> dict:
    n = 250
    x = random.normal(size=n)
    return {
        "sex": random.choice(list("MF"), n),
        "city": random.choice(CITIES[:5], n),
        "plan": random.choice(["a", "b", "c"], n),
        "team": random.choice(["k", "l", "m", "n"], n),
        "x": x,
        "tenure": random.gamma(2, 12, n),
        "y": _label(random, x - 1),
    }


def _credit(random: np.random.Generator, i: int) -> dict:
    n = random.poisson(450)
    income = random.lognormal(7.5, 0.5, n)
    region = random.choice(CITIES[:6], n, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
    return {
        "t": _times(random, n, MONDAY + i * WEEK, WEEK),
        "region": region,
        "income": income,
        "age": random.integers(18, 80, n),
        "y": _label(random, -1.4 + 0.04 * i - (np.log(income) - 7.5)),
    }


def _clicks(random: np.random.Generator, i: int) -> dict:
    n = int(1500 * np.exp(random.normal(0, 0.2)) * (1.0 if i % 7 < 5 else 0.6))
    x = random.normal(size=n)
    mobile = random.random(n) < 0.4 + 0.005 * i
    return {
        "t": _times(random, n, MONDAY + i * DAY, DAY),
        "city": random.choice(CITIES, n, p=np.array([9, 8, 7, 6, 5, 5, 4, 3, 2, 1]) / 50),
        "device": np.where(mobile, "phone", "desk"),
        "x": x,
        "seconds": random.exponential(30, n),
        "y": _label(random, -4 + x),
    }


def _deliveries(random: np.random.Generator, i: int) -> dict:
    n = random.poisson(700)
    live = [f"shöp{k}" for k in range(i // 4, i // 4 + 12)]
    shop = random.choice(live, n)
    weight = random.gamma(2, 3, n)
    return {
        "t": _times(random, n, MONDAY + i * WEEK, WEEK),
        "shop": shop,
        "weight": weight,
        "km": random.gamma(2, 8, n),
        "y": _label(random, 0.4 * (weight - 6) + 0.2 * (np.char.str_len(shop) - 5)),
    }


def _concept(random: np.random.Generator, i: int) -> dict:
    n = 800
    a, b, c = random.normal(size=(3, n))
    odds = ((a + b, b - c, c - a, -a - b)[i // 10 % 4]) * 2
    return {
        "a": a,
        "b": b,
        "c": c,
        "site": random.choice(CITIES[:4], n),
        "y": _label(random, odds),
    }


def _prices(random: np.random.Generator, i: int) -> dict:
    n = random.poisson(400)
    size = random.gamma(4, 20, n)
    level = 1.0 + 0.15 * (i >= 12) + 0.2 * (i >= 24) + 0.1 * np.sin(i / 8)
    town = random.choice(CITIES[:8], n)
    return {
        "t": _times(random, n, MONDAY + i * WEEK, WEEK),
        "town": town,
        "size": size,
        "rooms": np.clip((size / 25).astype(np.int64), 1, 8),
        "y": level * (50 + 3 * size + random.normal(0, 40, n)),
    }


def _species(random: np.random.Generator, i: int) -> dict:
    n = 150
    y = random.choice(3, n, p=np.array([4 + i * 0.05, 3, 3]) / (10 + i * 0.05))
    return {
        "x": random.normal(y, 1),
        "z": random.normal(0, 1, n),
        "site": random.choice(CITIES[:3], n),
        "y": y.astype(np.int64),
    }


def _plant(random: np.random.Generator, i: int) -> dict:
    n = random.poisson(300)
    machine = random.choice([f"m{k}" for k in range(10)], n)
    hall = np.where(random.random(n) < 0.9, np.where(np.char.endswith(machine, ("0")), "öst", "west"), "yard")
    heat = 60 + 5 * np.sin(i / 24 * 6.28) + random.normal(0, 4, n)
    return {
        "t": MONDAY + i * 3600 + random.integers(0, 3600, n),
        "machine": machine,
        "hall": hall,
        "heat": heat,
        "load": random.beta(2, 2, n),
        "y": _label(random, -2.2 + 0.2 * (heat - 60)),
    }


STREAMS = (
    Stream("sales", "binary", "day", _sales, "price", "city", "group"),
    Stream("air", "regression", "day", _air, "temp", "station"),
    Stream("churn", "binary", "rows:250", _churn, "tenure", "city", timed=False),
    Stream("credit", "binary", "week", _credit, "income", "region"),
    Stream("clicks", "binary", "day", _clicks, "seconds", "city"),
    Stream("deliveries", "binary", "week", _deliveries, "weight", "shop"),
    Stream("concept", "binary", "rows:800", _concept, "a", "site", timed=False),
    Stream("prices", "regression", "week", _prices, "size", "town"),
    Stream("species", "multiclass", "rows:150", _species, "x", "site", timed=False),
    Stream("plant", "binary", "hour", _plant, "heat", "machine", "hall"),
)
