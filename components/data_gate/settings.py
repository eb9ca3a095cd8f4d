"""DataGate's settings: the keys of `gates.data`, and the measurement behind each default.

The measurements are those of the flights of 2013 in 53 weekly spans, each against the week before;
`benchmarks/gates.py` repeats them. An ordinary week is one without an injected fault. This module imports neither
numpy nor TensorFlow.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from noria.components.data_gate.measures import MEASURES
from noria.core.settings import Settings, listed

LOOK_BACK = 8  # spans whose rows or statistics a span is compared with

Threshold = Annotated[float, Field(ge=0)] | None
Thresholds = dict[Annotated[str, AfterValidator(MEASURES.check_name)], Threshold]


class Volume(Settings):
    """Rows per hour of event time against the median of the last accepted spans."""

    low: float = Field(
        default=0.65,  # ordinary weeks: 0.93 to 1.08; half of the rows missing: 0.5
        ge=0,
        description="Rows per hour below this share of the last spans' median make a span `broken`.",
    )
    drifted: float = Field(default=0.8, ge=0, description="Below this share the span is `drifted`.")
    high: float = Field(
        default=2.0,  # a stream may grow
        ge=0,
        description="Above this multiple the span is `drifted`.",
    )


class LabelRate(Settings):
    """The label against the references: a share for binary and multiclass, a mean for regression."""

    change: float = Field(
        default=0.2,  # the share of late flights moves by up to 0.25, in one week of ten by more than 0.15
        ge=0,
        description="Change of the label's mean (for classes: of any class's share), in absolute terms, "
        "above which a span is `drifted`.",
    )
    deviations: float = Field(
        default=0.5,  # a season or a price level moves the mean by this much, and no test can tell it from a fault
        ge=0,
        description="Regression: change of the label's mean, in the reference's standard deviations, above which a "
        "span is `drifted`. It is never `broken`.",
    )
    broken: float = Field(
        default=0.4,  # all labels flipped in an ordinary week: 0.5
        ge=0,
        description="Change of a share above which it is `broken`; not for regression.",
    )
    unlabelled: float = Field(
        default=0.3,  # ordinary weeks: 0.005 to 0.16
        ge=0,
        description="Share of rows without a label above which it is `drifted`; twice that is `broken`.",
    )


def _default_measures() -> Thresholds:
    return {name: kind.threshold for name, kind in MEASURES.all().items()}


def _default_stable() -> Thresholds:
    return {"psi": 1.0}  # 20 times the largest PSI of a timetable's features in ordinary weeks


class DataGateSettings(Settings):
    """All of the gate's settings. A check whose threshold is None is reported and does not judge."""

    measures: Annotated[Thresholds, AfterValidator(lambda given: _default_measures() | given)] = Field(
        default_factory=_default_measures,
        description="Thresholds of the drift measures, above which a feature is `drifted`: "
        + ", ".join(
            f"`{name}` ({re.split('[,:]', kind.definition)[0]})" for name, kind in MEASURES.all().items()
        )
        + ", or the import path of your own, such as `my_project.measures.Hellinger`. A measure that is not named "
        "keeps its default. `null`: reported, but does not judge.",
    )
    stable: Annotated[Thresholds, AfterValidator(lambda given: _default_stable() | given)] = Field(
        default_factory=_default_stable,
        description="Thresholds by measure of the features that are tagged `stable` in the schema; above one of them "
        "the span is `broken`. `null`: no such check.",
    )
    features: dict[str, Thresholds] = Field(
        default_factory=dict,
        description="Thresholds by measure of single features, by column name, instead of `measures`.",
    )
    ignore: Annotated[list[str], BeforeValidator(listed)] = Field(
        default_factory=list, description="Features that are not compared at all (an id, the time)."
    )
    volume: Volume | None = Field(
        default=Volume(), description="Rows against the last accepted spans. `null`: no check."
    )
    label_rate: LabelRate | None = Field(
        default=LabelRate(), description="The label's mean against the references. `null`: no check."
    )
    out_of_range: float = Field(
        default=0.001,  # one broken gauge among thousands is not a broken span
        ge=0,
        description="Share of values outside the schema's range that is taken as outliers.",
    )
    unknown: float = Field(
        default=0.5,  # a renamed code table: nearly all; a new shop among twelve: 0.08
        ge=0,
        description="Share of categories that neither the schema nor a reference has, above which a span is `broken`; "
        "above the schema's own tolerance it is `drifted`.",
    )
    stuck: Threshold = Field(
        default=0.3,  # ordinary weeks stay below 0.2; one airport of three: 0.35
        description="Rise of one value's share of the rows, from below a quarter, that makes a numeric feature "
        "`broken` as stuck; two thirds of it make it `drifted`.",
    )
    association: Threshold = Field(
        default=0.5,  # smallest share in ordinary weeks: 0.86
        description="Share of its former Cramér's V (both without their bias) below which a pair of categories is "
        "`broken` (shuffled).",
    )
    rows: bool = Field(
        default=True,
        description="Whether to check units, copies of rows, time zones, labels that leak, a single source that fails, "
        "and encodings.",
    )
    slices: Threshold = Field(
        # Largest change in ordinary weeks, with correlations as before: 1.4. A flipped airline: 1.0 to 5.
        default=1.4,
        description="Change of one value's log odds of the label, against all others, that makes a span "
        "`broken` as mislabelled, if it is 6 standard errors as well and its correlations with the features "
        "changed; three quarters of it make it `drifted`.",
    )
    false_discovery: float = Field(
        default=0.001,
        gt=0,
        lt=1,
        description="False discovery rate: a verdict of `broken` needs an effect beyond its threshold, and a p-value "
        "of at most this after the correction of Benjamini and Hochberg over all of the span's tests.",
    )
    thin: int = Field(
        default=30,  # a share of 30 rows is known to 18 points
        ge=0,
        description="Rows below which a span is not a reference for later ones; nor is one with less than a twentieth "
        "of the rows of the span that is judged.",
    )
    lasting: int | None = Field(
        default=2,
        ge=2,
        description="Successive spans with the same finding, and similar to each other, after which their state is the "
        "new normal: the last of them is `drifted`, and older spans are not references. `null`: never.",
    )
    overlap: Threshold = Field(
        default=0.1,  # ordinary weeks do not overlap; a replayed one does by all of it
        description="Share of the span's time range that an older accepted span may cover.",
    )
    late_start: Threshold = Field(
        default=0.1,  # ordinary weeks: 0.01; a clock that was a day ahead when the weeks were cut: 0.14
        description="Share of a span's period by which it may begin late, against the last spans' cadence; "
        "beyond it rows are missing and the span is `broken`.",
    )
