"""Geometry of the page's plots, in SVG user units; the template draws them and CSS colours them.

Three marks mean the same in every plot: a bar is this span, a solid line the previous span, a dashed line
the champion's training data.
"""

import dataclasses
import math
from collections.abc import Sequence

from noria.pipeline.report.distributions import OTHER, Feature
from noria.pipeline.report.words import fixed, number, percent

WIDTH = 320.0
PLOT_HEIGHT = 84.0
TOP = 14.0
ROW = 17.0
LABEL = 116.0
VALUE = 50.0


@dataclasses.dataclass(frozen=True)
class Bar:
    """A rectangle with the sentence that a pointer or a screen reader gets for it."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclasses.dataclass(frozen=True)
class Text:
    """A label at a point; anchor is SVG's text-anchor."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclasses.dataclass(frozen=True)
class Plot:
    """What a template needs to draw one plot: bars, then lines by series, then text."""

    width: float
    height: float
    bars: tuple[Bar, ...]
    lines: dict[str, str]
    texts: tuple[Text, ...]
    baseline: float | None
    label: str


NAMES = {"span": "this span", "previous": "previous span", "champion": "champion's training data"}


def distribution(feature: Feature) -> Plot | None:
    """The plot of one feature, or None if there is nothing to draw."""
    if feature.kind == "numeric":
        return _histogram(feature)
    if feature.kind == "categorical":
        return _ranks(feature)
    return None


def _histogram(feature: Feature) -> Plot:
    highest = max(max(shares) for shares in feature.shares.values()) or 1.0
    first, last = feature.edges[0], feature.edges[-1]
    floor = TOP + PLOT_HEIGHT

    def x(value: float) -> float:
        return round(WIDTH * (value - first) / (last - first), 1)

    def y(share: float) -> float:
        return round(floor - PLOT_HEIGHT * share / highest, 1)

    bars = []
    for i, share in enumerate(feature.shares.get("span", ())):
        low, high = feature.edges[i], feature.edges[i + 1]
        title = f"{_range(feature, i)}: {percent(share)}{_others(feature, i)}"
        bars.append(Bar(x(low) + 0.5, y(share), max(x(high) - x(low) - 1, 0.5), floor - y(share), title))
    lines = {}
    for key, shares in feature.shares.items():
        if key == "span":
            continue
        steps = [f"M0 {floor}"]
        for i, share in enumerate(shares):
            steps.append(f"V{y(share)}H{x(feature.edges[i + 1])}")
        lines[key] = "".join([*steps, f"V{floor}"])
    below, above = feature.clipped
    texts = [
        Text(0, TOP - 4, percent(highest), "start"),
        Text(0, floor + 13, ("≤ " if below else "") + number(_tick(feature, first)), "start"),
        Text(WIDTH, floor + 13, ("≥ " if above else "") + number(_tick(feature, last)), "end"),
    ]
    middle = (first + last) / 2
    if not _whole(feature) or middle % 1 == 0:
        texts.append(Text(WIDTH / 2, floor + 13, number(middle)))
    return Plot(WIDTH, floor + 18, tuple(bars), lines, tuple(texts), floor, _sentence(feature))


def _tick(feature: Feature, edge: float) -> float:
    # Edges of whole numbers are between them: half a step inwards is the outermost value itself.
    if _whole(feature):
        return edge + 0.5 if edge == feature.edges[0] else edge - 0.5
    return edge


def _whole(feature: Feature) -> bool:
    return feature.edges[0] % 1 == 0.5 and (feature.edges[1] - feature.edges[0]) in (1.0, 2.0)


def _range(feature: Feature, i: int) -> str:
    low, high = feature.edges[i], feature.edges[i + 1]
    if _whole(feature):
        low, high = low + 0.5, high - 0.5
        return number(low) if low == high else f"{number(low)} to {number(high)}"
    return f"{number(low)} to {number(high)}"


def _ranks(feature: Feature) -> Plot:
    # The others are many values together: on one scale with them no single value could be seen.
    single = [i for i, label in enumerate(feature.labels) if label != OTHER]
    highest = max((shares[i] for shares in feature.shares.values() for i in single), default=0.0) or 1.0
    room = WIDTH - LABEL - VALUE

    def x(share: float) -> float:
        return round(LABEL + room * share / highest, 1)

    bars, texts = [], []
    lines: dict[str, list[str]] = {key: [] for key in feature.shares if key != "span"}
    for i, label in enumerate(feature.labels):
        top = i * ROW
        share = feature.shares["span"][i] if "span" in feature.shares else 0.0
        short = label if len(label) <= 15 else label[:13] + "…"
        texts.append(Text(LABEL - 6, top + ROW - 5, short or "(empty)", "end"))
        texts.append(Text(WIDTH, top + ROW - 5, percent(share), "end"))
        if label == OTHER:
            continue
        title = f"{label}: {percent(share)}{_others(feature, i)}"
        bars.append(Bar(LABEL, top + 3, max(x(share) - LABEL, 0.5), ROW - 6, title))
        for key, path in lines.items():
            path.append(f"M{x(feature.shares[key][i])} {top + 1}v{ROW - 2}")
    paths = {key: "".join(path) for key, path in lines.items()}
    height = ROW * len(feature.labels)
    return Plot(WIDTH, height, tuple(bars), paths, tuple(texts), None, _sentence(feature))


def _others(feature: Feature, i: int) -> str:
    return "".join(
        f", {NAMES[key]} {percent(shares[i])}" for key, shares in feature.shares.items() if key != "span"
    )


def _sentence(feature: Feature) -> str:
    series = ", ".join(NAMES[key] for key in feature.shares)
    return f"Distribution of {feature.name}: {series}"


@dataclasses.dataclass(frozen=True)
class Scale:
    """A linear scale from values to user units, with round ticks."""

    low: float
    high: float
    start: float
    stop: float
    step: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + (self.stop - self.start) * min(max(share, 0.0), 1.0), 1)

    @property
    def ticks(self) -> list[float]:
        first, last = round(self.low / self.step), round(self.high / self.step)
        return [round(k * self.step, 12) for k in range(first, last + 1)]

    def text(self, tick: float) -> str:
        """A tick with as many decimals as the step has."""
        return fixed(tick, max(0, -math.floor(math.log10(self.step) + 1e-9)))


def step_of(width: float, count: int = 4) -> float:
    """The round step (1, 2 or 5 times a power of ten) that gives about `count` ticks over a width."""
    raw = width / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw - 1e-12)


def scale(values: Sequence[float], start: float, stop: float) -> Scale | None:
    """A scale over the finite values, widened to round ticks; None if there is no value."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    if high - low < 1e-9:
        low, high = low - 0.005, high + 0.005
    step = step_of(high - low)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Scale(first * step, last * step, start, stop, step)


@dataclasses.dataclass(frozen=True)
class Dot:
    """A point of a line plot; kind becomes its CSS class."""

    x: float
    y: float
    kind: str
    title: str


@dataclasses.dataclass(frozen=True)
class Series:
    """A metric over the spans: challenger and champion on the same rows."""

    metric: str
    width: float
    height: float
    lines: dict[str, str]
    dots: tuple[Dot, ...]
    rows: tuple[Text, ...]
    columns: tuple[Text, ...]
    left: float
    right: float
    label: str


def over_spans(
    metric: str, name: str, points: Sequence[tuple[int, float | None, float | None, str]]
) -> Series | None:
    """The metric over the spans.

    Args:
      metric: key of the metric; name: its name in words.
      points: (span, challenger, champion, verdict), in order of the spans; None if there is no value.

    Returns:
      The plot, or None where no point has a value.
    """
    width, height, left, right, top, floor = 560.0, 220.0, 52.0, 548.0, 14.0, 186.0
    usable = [p for p in points if p[1] is not None or p[2] is not None]
    y = scale([v for p in usable for v in p[1:3] if v is not None], floor, top)
    if y is None:
        return None
    first, last = points[0][0], points[-1][0]

    def x(span: int) -> float:
        if first == last:
            return (left + right) / 2
        return round(left + 14 + (right - left - 28) * (span - first) / (last - first), 1)

    lines = {}
    sides = {"champion": [(p[0], p[2]) for p in usable], "challenger": [(p[0], p[1]) for p in usable]}
    for key, values in sides.items():
        found = [(x(span), y(value)) for span, value in values if value is not None]
        if len(found) > 1:
            lines[key] = "M" + "L".join(f"{a} {b}" for a, b in found)
    dots = []
    for span, challenger, champion, verdict in usable:
        if champion is not None:
            dots.append(Dot(x(span), y(champion), "champion", f"span {span}: champion {number(champion)}"))
        if challenger is not None:
            kind = "challenger" if verdict == "blessed" else "challenger rejected"
            title = f"span {span}: challenger {number(challenger)}, {verdict}"
            dots.append(Dot(x(span), y(challenger), kind, title))
    rows = tuple(Text(left - 8, y(tick) + 4, y.text(tick), "end") for tick in y.ticks)
    shown = max(1, math.ceil(len(points) / 12))
    columns = tuple(Text(x(p[0]), floor + 18, str(p[0])) for i, p in enumerate(points) if i % shown == 0)
    label = f"{name} of challenger and champion from span {first} to span {last}"
    return Series(metric, width, height, lines, tuple(dots), rows, columns, left, right, label)
