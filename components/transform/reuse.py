"""Reuse the champion's transform graph, or refresh it: the rule, in plain Python.

Reuse costs nothing and keeps the meaning of every weight: row 7 of an embedding remains the same carrier. It is right
if code, schema and label are those of the champion, the data has not drifted, and the vocabularies still cover the
data. What they covered at their analysis is in `noria.json` in the transform graph, which is copied with it:

    reuse  iff  a champion is present, and its graph has noria.json
                the data verdict is 'ok'
                label, schema digest and code digest are the champion's
                for each vocabulary v: share(v) - 3 standard errors <= share at analysis(v) + 0.01

share(v) is the share of train rows with at least one value outside the vocabulary. It is compared with the
share at analysis and not with zero, since `top_k`, `frequency_threshold` and missing values always leave some
rows outside. The standard error is that of a share of independent rows: without it a vocabulary whose true share
lies near the limit would be refreshed by chance sooner or later.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RECORD = "noria.json"

# One row in a hundred may have a value that the champion has never seen; it goes to the out-of-vocabulary bucket until
# a refresh. A smaller limit would replace the champion's graph because of a few rows.
MAX_EXCESS = 0.01
ERRORS = 3.0  # standard errors: by chance one vocabulary of 700 in a run whose true share is at the limit


@dataclass
class Record:
    """What a transform graph was made from; `noria.json` beside `transform_fn`.

    Attributes:
      preprocessing: import path of the function.
      code_digest: of its source (`noria.core.code_digest`).
      schema_digest: of the schema of the raw examples.
      label: name of the label column.
      rows: train rows analysed.
      outside: per vocabulary, the share of those rows with a value outside of it.
      unmeasured: vocabularies without an output feature of the same name, whose rows cannot be counted.
    """

    preprocessing: str
    code_digest: str
    schema_digest: str
    label: str
    rows: int = 0
    outside: dict[str, float] = field(default_factory=dict)
    unmeasured: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Decision:
    """`transform` is 'reused' or 'refreshed'; `reason` is for people; `inputs` are those of the rule."""

    transform: str
    reason: str
    inputs: dict[str, Any]


def read_record(folder: str | Path) -> Record | None:
    """The record in a transform graph; None if there is none, or it cannot be read."""
    path = Path(folder) / RECORD
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def write_record(folder: str | Path, record: Record) -> None:
    text = json.dumps(asdict(record), indent=1, sort_keys=True)
    (Path(folder) / RECORD).write_text(text + "\n", encoding="utf-8")


def before_reading(champion: Record | None, present: bool, verdict: str, now: Record) -> Decision | None:
    """Decides without the data; None if the data are needed.

    Args:
      champion: record of the champion's transform graph.
      present: whether there is a champion.
      verdict: the data verdict: ok, drifted or broken.
      now: preprocessing, digests and label of this run.

    >>> now = Record("f.fn", "c1", "s1", "late")
    >>> before_reading(None, False, "ok", now).reason
    'there is no champion'
    >>> before_reading(Record("f.fn", "c0", "s1", "late"), True, "ok", now).reason
    'the preprocessing code has changed'
    >>> before_reading(now, True, "ok", now) is None
    True
    """
    inputs: dict[str, Any] = {"champion": "present" if present else "absent", "verdict": verdict}
    if not present:
        return Decision("refreshed", "there is no champion", inputs)
    if champion is None:
        return Decision("refreshed", f"the champion's transform graph has no {RECORD}", inputs)
    same = {
        "label": champion.label == now.label,
        "schema": champion.schema_digest == now.schema_digest,
        "code": (champion.preprocessing, champion.code_digest) == (now.preprocessing, now.code_digest),
    }
    inputs |= {f"same_{name}": value for name, value in same.items()}
    reasons = []
    if verdict != "ok":
        reasons.append(f"the data verdict is {verdict}")
    if not same["label"]:
        reasons.append(f"the label was {champion.label} and is {now.label}")
    if not same["schema"]:
        reasons.append("the schema has changed")
    if not same["code"]:
        reasons.append("the preprocessing code has changed")
    if champion.unmeasured:
        names = ", ".join(champion.unmeasured)
        reasons.append(
            f"no output feature has the name of the vocabulary {names}, so its coverage is unknown"
        )
    return Decision("refreshed", "; ".join(reasons), inputs) if reasons else None


def after_reading(
    champion: Record, outside: Mapping[str, float], rows: int, max_excess: float = MAX_EXCESS
) -> Decision:
    """Decides by how well the champion's vocabularies cover the new train rows.

    Args:
      champion: record of the champion's transform graph.
      outside: per vocabulary, the share of the new rows with a value outside of it.
      rows: the number of the new rows.
      max_excess: how much larger than at the champion's analysis a share may be; a share, not per cent.

    >>> seen = Record("f.fn", "c1", "s1", "late", 100, {"tailnum": 0.02})
    >>> after_reading(seen, {"tailnum": 0.025}, 1000).transform
    'reused'
    >>> after_reading(seen, {"tailnum": 0.2}, 1000).reason
    'tailnum: 20.00% of the rows are outside the vocabulary, 2.00% were at its analysis'
    """
    inputs: dict[str, Any] = {"outside": dict(outside), "outside_at_analysis": champion.outside}
    inputs |= {"rows": rows, "max_excess": max_excess}
    failed = [
        f"{name}: {share:.2%} of the rows are outside the vocabulary, "
        f"{champion.outside.get(name, 0.0):.2%} were at its analysis"
        for name, share in sorted(outside.items())
        if share - ERRORS * math.sqrt(share * (1 - share) / max(rows, 1))
        > champion.outside.get(name, 0.0) + max_excess
    ]
    if failed:
        return Decision("refreshed", "; ".join(failed), inputs)
    worst = max(outside.values(), default=0.0)
    reason = "code, schema and label are the champion's"
    reason += f", and at most {worst:.2%} of the rows are outside a vocabulary" if outside else ""
    return Decision("reused", reason, inputs)
