"""The outcome of a run: a headline, and what it means."""

import dataclasses
import datetime
from typing import Any

from noria.pipeline.report.run_data import Artifacts, RunData
from noria.pipeline.report.words import is_number


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The run in brief.

    Attributes:
      kind: 'published', 'rejected', 'twin', 'quarantined', 'thin', 'failed' or 'unfinished'; also a CSS class.
      headline: one short sentence.
      meaning: what it means for the version that serves.
      version: version of the challenger, published or registered as rejected; None if there is none.
      champion: version that was champion when the run began, or None.
      data: the data verdict, or 'none'.
      model: 'blessed', 'rejected', 'twin' or 'none'.
    """

    kind: str
    headline: str
    meaning: str
    version: int | None
    champion: int | None
    data: str
    model: str


def judge(run_data: RunData, artifacts: Artifacts) -> Outcome:
    """The outcome by the run, the journal and the two verdicts."""
    pusher = merged(run_data).get("Pusher", {})
    version = _whole(run_data.run.get("version"), pusher.get("version"))
    model = artifacts.model_verdict or {}
    champion = _whole(
        (artifacts.champion or {}).get("version"), run_data.run.get("parent"), model.get("baseline")
    )
    data = str((artifacts.data_verdict or {}).get("verdict") or run_data.run.get("data_verdict") or "none")
    blessed = model.get("blessed")
    serving = f"Version {champion} still serves." if champion else "Nothing is served yet."
    state = run_data.run.get("state") or pusher.get("state")
    failed = failure(run_data)

    if failed is not None:
        kind, headline = "failed", f"The run stopped in {failed[0]}"
        meaning = f"{serving} The next run continues from the last good state."
    elif data == "broken":
        kind, headline = "quarantined", f"Span {run_data.run.get('span', '?')} is quarantined"
        meaning = f"Its data is broken, so nothing was trained on it. {serving}"
    elif data == "thin":
        kind, headline = "thin", f"Span {run_data.run.get('span', '?')} is thin"
        why = "; ".join(str(reason) for reason in run_data.run.get("reasons") or ())
        meaning = f"Nothing was trained on it alone ({why}). Its rows are kept for later runs. {serving}"
    elif state == "twin":
        kind, headline = "twin", f"Version {version} is the cold twin"
        meaning = f"{serving} The spans that follow say whether the twin is better (`noria status`)."
    elif blessed is False or (blessed and state == "rejected"):
        kind, headline = "rejected", "The challenger is rejected"
        meaning = f"{serving} The challenger stays in the registry as rejected, with these reasons."
    elif blessed and pusher.get("staged"):
        kind, headline = "unfinished", f"Version {version} is the candidate of a rollout"
        meaning = f"`noria serve` gives it traffic beside version {champion} (`noria rollout status`)."
    elif blessed and state == "registered":
        kind, headline = "unfinished", f"Version {version} is blessed, but not published"
        meaning = f"It {pusher.get('withheld') or 'waits for the next run'}. Its span waits for another run."
    elif blessed and version is not None:
        kind = "published"
        headline = f"Version {version} is published"
        meaning = f"It replaces version {champion}." if champion else "It is the first version."
    elif blessed:
        kind, headline = "unfinished", "The challenger is blessed, but not published"
        meaning = f"The journal has no end of Pusher. {serving}"
    else:
        kind, headline = "unfinished", "The run ended without a model verdict"
        meaning = serving
    verdict = "none" if blessed is None else ("rejected" if kind == "rejected" or not blessed else "blessed")
    if kind == "twin":
        verdict = kind
    return Outcome(kind, headline, meaning, version, champion, data, verdict)


def reasons(run_data: RunData, artifacts: Artifacts) -> list[str]:
    """The model verdict's reasons, and those that Pusher added (a model that does not answer)."""
    found = [str(r) for r in (artifacts.model_verdict or {}).get("reasons") or []]
    for more in merged(run_data).get("Pusher", {}).get("reasons") or []:
        if str(more) not in found:
            found.append(str(more))
    return found


def merged(run_data: RunData) -> dict[str, dict[str, Any]]:
    """All values that each stage recorded; later ones replace earlier ones."""
    stages: dict[str, dict[str, Any]] = {}
    for record in run_data.journal:
        stages.setdefault(str(record.get("stage")), {}).update(record)
    return stages


def failure(run_data: RunData) -> tuple[str, str] | None:
    """Stage and message of the failure that ended the run, or None."""
    for record in run_data.journal:
        if record.get("event") == "failed":
            return str(record.get("stage")), str(record.get("error") or "no message")
    error = run_data.run.get("error")
    return ("the run", str(error)) if error else None


def total_seconds(run_data: RunData) -> float | None:
    """Seconds of the whole run: as recorded, else by its two times, else the sum over its stages."""
    seconds = run_data.run.get("seconds")
    if is_number(seconds):
        return float(seconds)
    try:
        times = [datetime.datetime.fromisoformat(str(run_data.run[key])) for key in ("started", "finished")]
        if (taken := (times[1] - times[0]).total_seconds()) > 0:
            return taken
    except (KeyError, ValueError, TypeError):
        pass
    ended = [
        r["seconds"] for r in run_data.journal if r.get("event") != "note" and is_number(r.get("seconds"))
    ]
    return float(sum(ended)) if ended else None


def _whole(*values: Any) -> int | None:
    return next((value for value in values if isinstance(value, int) and value > 0), None)
