"""Streams of 50,000 rows with a drift that is known: each function makes one, the same for the same seed.

A stream is a table in the order of time: `time` (epoch seconds, one row a minute), `label`, and features. Sources of
the classic ones: SEA (Street & Kim 2001), Agrawal (Agrawal et al. 1993), the rotating hyperplane (Hulten et al. 2001),
moving radial basis functions (Bifet et al. 2009), Friedman's regression (Friedman 1991) with swapped inputs
(Ikonomovska 2011).
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

ROWS = 50_000
SPAN = 2_500  # rows of a span: 20 spans a stream
START = 1_700_006_400  # epoch seconds of the first row, a midnight


@dataclasses.dataclass(frozen=True)
class Stream:
    """A stream and what it is for.

    Attributes:
      name: of the generator.
      task: binary, multiclass or regression.
      table: `[rows]`: time, label, features.
      changes: rows at which something changes at once; empty where it moves slowly, or not at all.
      span: rows of a span.
    """

    name: str
    task: str
    table: pd.DataFrame
    changes: tuple[int, ...] = ()
    span: int = SPAN

    @property
    def features(self) -> list[str]:
        """The columns that a model may read."""
        return [name for name in self.table if name not in ("time", "label")]

    def spans(self) -> list[pd.DataFrame]:
        """The stream cut into full spans."""
        last = len(self.table) - self.span
        return [self.table.iloc[at : at + self.span] for at in range(0, last + 1, self.span)]


Make = Callable[[np.random.Generator], tuple[dict[str, np.ndarray], np.ndarray]]
MAKERS: dict[str, tuple[str, tuple[int, ...], Make]] = {}


def stream(name: str, seed: int = 1) -> Stream:
    """Makes a stream by its name, one of NAMES."""
    task, changes, function = MAKERS[name]
    columns, label = function(np.random.default_rng([seed, list(MAKERS).index(name)]))
    table = pd.DataFrame({"time": START + 60 * np.arange(ROWS), "label": label, **columns})
    return Stream(name, task, table, changes)


def _maker(task: str = "binary", *changes: int) -> Callable[[Make], Make]:
    def register(function: Make) -> Make:
        MAKERS[function.__name__] = (task, changes, function)
        return function

    return register


def _draw(random: np.random.Generator, logit: np.ndarray) -> np.ndarray:
    """Labels 0 and 1 `[rows]` with the odds exp(logit)."""
    return (random.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(np.int64)


def _normal(random: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    return {f"x{i}": random.standard_normal(ROWS) for i in range(count)}


def _after(row: int) -> np.ndarray:
    """True from this row on: `[rows]`."""
    return np.arange(ROWS) >= row


@_maker("binary", 4 * SPAN, 10 * SPAN)
def waking(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two columns are constant for 4 spans; a third changes its unit by 1,000 after 10 spans."""
    x = _normal(random, 4)
    sleeps = ~_after(4 * SPAN)
    quiet = np.where(sleeps, 0.003467, random.normal(0.003, 0.002, ROWS))
    silent = np.where(sleeps, 0.0, random.gamma(2.0, 50.0, ROWS))
    weight = random.lognormal(0.0, 0.5, ROWS)
    logit = 1.5 * x["x0"] - x["x1"] + x["x2"] * x["x3"] + 1.5 * np.log(weight) - 0.3
    logit += np.where(sleeps, 0.0, (silent - 100) / 70)
    return x | {
        "quiet": quiet,
        "silent": silent,
        "weight": np.where(_after(10 * SPAN), 1000, 1) * weight,
    }, _draw(random, logit)


@_maker()
def new_categories(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """12 shops of 60 are open, each with its own rate; each 1,500 rows one closes and another opens."""
    x = _normal(random, 3)
    effect, kind = random.normal(0, 1.5, 60), random.integers(0, 4, ROWS)
    order = random.permutation(60)
    opened = np.arange(ROWS) // 1_500
    shop = order[(opened + random.integers(0, 12, ROWS)) % 60]
    logit = effect[shop] + 0.8 * x["x0"] - 0.5 * x["x1"] + np.array([-0.5, 0, 0.3, 0.6])[kind]
    words = np.array([f"shop {i:02d}" for i in range(60)])[shop]
    return x | {"shop": words, "kind": np.array(["a", "b", "c", "d"])[kind]}, _draw(random, logit)


@_maker("binary", 20_000, 25_000, 37_500)
def noise_flip(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """5,000 rows have random labels; later all labels are flipped, permanently."""
    x = _normal(random, 6)
    label = _draw(random, 2 * x["x0"] - 1.5 * x["x1"] + 1.5 * x["x2"] * x["x3"] + 0.5)
    noise = _after(20_000) & ~_after(25_000)
    label = np.where(noise, random.integers(0, 2, ROWS), label)
    return x, np.where(_after(37_500), 1 - label, label)


@_maker("binary", 12_500, 25_000, 37_500)
def sea(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """x0 + x1 is at most 8, 9, 7 and then 9.5; a tenth of the labels is wrong."""
    x = {f"x{i}": random.uniform(0, 10, ROWS) for i in range(3)}
    limit = np.repeat([8.0, 9.0, 7.0, 9.5], ROWS // 4)
    label = (x["x0"] + x["x1"] <= limit) ^ (random.random(ROWS) < 0.1)
    return x, label.astype(np.int64)


@_maker("binary", 12_500, 25_000, 37_500)
def agrawal(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Loan applicants; who gets one is decided by functions 0, 3, 6 and then 0 again; 5 % of the labels are wrong."""
    salary = random.uniform(20_000, 150_000, ROWS)
    commission = np.where(salary >= 75_000, 0.0, random.uniform(10_000, 75_000, ROWS))
    age, level = random.integers(20, 81, ROWS), random.integers(0, 5, ROWS)
    zone, years = random.integers(0, 9, ROWS), random.integers(1, 31, ROWS)
    value = (9 - zone) * 100_000 * random.uniform(0.5, 1.5, ROWS)
    loan, car = random.uniform(0, 500_000, ROWS), random.integers(1, 21, ROWS)
    by_age = (age < 40) | (age >= 60)
    low, middle, high = (
        (salary >= a) & (salary <= b) for a, b in ((25e3, 75e3), (50e3, 100e3), (75e3, 125e3))
    )
    young, adult = age < 40, (age >= 40) & (age < 60)
    by_level = np.select(
        [young, adult],
        [np.where(level < 2, low, middle), np.where(level < 4, middle, high)],
        np.where(level < 2, middle, low),
    )
    by_debt = 2 * (salary + commission) / 3 - loan / 5 - 20_000 > 0
    quarter = np.arange(ROWS) // (ROWS // 4)
    label = np.choose(quarter, [by_age, by_level, by_debt, by_age]).astype(bool) ^ (
        random.random(ROWS) < 0.05
    )
    texts = {"level": np.array([f"level {i}" for i in range(5)])[level]}
    texts |= {
        "zone": np.array([f"zone {i}" for i in range(9)])[zone],
        "car": np.array([f"car {i}" for i in range(21)])[car],
    }
    numbers = {
        "salary": salary,
        "commission": commission,
        "age": age,
        "value": value,
        "years": years,
        "loan": loan,
    }
    return numbers | texts, label.astype(np.int64)


@_maker()
def hyperplane(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A plane in ten dimensions turns steadily; 5 % of the labels are wrong."""
    x = random.uniform(0, 1, (ROWS, 10))
    speed = random.normal(0, 1, 10) * (np.arange(10) < 6)
    angle = 2 * np.pi * np.arange(ROWS)[:, None] / ROWS * speed + random.uniform(0, 2 * np.pi, 10)
    logit = ((x - 0.5) * np.cos(angle)).sum(1)
    label = (logit > 0) ^ (random.random(ROWS) < 0.05)
    return {f"x{i}": x[:, i] for i in range(10)}, label.astype(np.int64)


@_maker("multiclass")
def moving_rbf(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """24 clusters of four classes in eight dimensions move, each its own way, and bounce off the walls."""
    centres, ways = random.uniform(0, 1, (24, 8)), random.normal(0, 1, (24, 8))
    ways *= 1.5 / ROWS / np.linalg.norm(ways, axis=1, keepdims=True)
    shares, width = random.dirichlet(np.full(24, 3.0)), random.uniform(0.05, 0.15, 24)
    which = random.choice(24, ROWS, p=shares)
    place = centres[which] + ways[which] * np.arange(ROWS)[:, None]
    place = np.abs((place + 1) % 2 - 1)  # a path that bounces off 0 and 1
    x = place + random.standard_normal((ROWS, 8)) * width[which, None]
    return {f"x{i}": x[:, i] for i in range(8)}, (which % 4).astype(np.int64)


@_maker("regression", 17_500, 35_000)
def friedman(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Five of ten numbers matter; twice, which ones changes. Deviation of the noise 1, of the label about 5."""
    x = random.uniform(0, 1, (ROWS, 10))
    orders = np.array([[0, 1, 2, 3, 4], [3, 1, 4, 0, 2], [5, 6, 2, 8, 9]])
    use = orders[_after(17_500).astype(int) + _after(35_000)]
    a, b, c, d, e = (x[np.arange(ROWS), use[:, i]] for i in range(5))
    label = 10 * np.sin(np.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e + random.standard_normal(ROWS)
    return {f"x{i}": x[:, i] for i in range(10)}, label


@_maker()
def rare(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The share of positive labels shrinks from a third to 1 %."""
    x = _normal(random, 6)
    words = random.integers(0, 8, ROWS)
    logit = 1.5 * x["x0"] - x["x1"] + x["x2"] * x["x3"] + np.linspace(-1, 1, 8)[words]
    return x | {"kind": np.array(list("abcdefgh"))[words]}, _draw(
        random, logit + np.linspace(-0.9, -7.5, ROWS)
    )


@_maker()
def takeover(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A category of 1 % of the rows becomes 80 % between rows 15,000 and 30,000; they follow another rule."""
    x = _normal(random, 4)
    share = np.interp(np.arange(ROWS), [15_000, 30_000], [0.01, 0.8])
    others = random.integers(1, 10, ROWS)
    brand = np.where(random.random(ROWS) < share, 0, others)
    usual = x["x0"] + 0.7 * x["x1"] + np.linspace(-1, 1, 10)[brand]
    logit = np.where(brand == 0, 1.0 - 1.2 * x["x0"] + x["x2"] * x["x3"], usual)
    return x | {"brand": np.array([f"brand {i}" for i in range(10)])[brand]}, _draw(random, logit)


@_maker("binary", 25_000, 40_000)
def dying(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The best column is constant from row 25,000 on; from row 40,000 on the second best is missing in most rows."""
    x = _normal(random, 6)
    logit = 2 * x["x0"] - 1.2 * x["x1"] + 0.8 * x["x2"] * x["x3"] + 0.5 * x["x4"]
    label = _draw(random, logit)
    x["x0"] = np.where(_after(25_000), -1.0, x["x0"])
    x["x1"] = np.where(_after(40_000) & (random.random(ROWS) < 0.9), np.nan, x["x1"])
    return x, label


@_maker()
def still(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Nothing changes: what following a world that does not move costs."""
    x = _normal(random, 8)
    words, places = random.integers(0, 30, ROWS), random.integers(0, 6, ROWS)
    logit = x["x0"] + x["x1"] * x["x2"] + np.abs(x["x3"]) - 1 + random.normal(0, 1, 30)[words]
    logit += np.where(places > 2, x["x4"], -x["x4"])
    texts = {
        "word": np.array([f"word {i}" for i in range(30)])[words],
        "place": np.array(list("uvwxyz"))[places],
    }
    return x | texts, _draw(random, logit)


NAMES = tuple(MAKERS)
