"""What the registry knows: versions, runs, and how events change them."""

import dataclasses
from pathlib import Path
from typing import Any

from noria.core import files

REJECTED = "rejected"
REGISTERED = "registered"
PUBLISHED = "published"
RETIRED = "retired"
ROLLED_BACK = "rolled_back"
EXPIRED = "expired"
TWIN = "twin"


@dataclasses.dataclass(frozen=True)
class Version:
    """One model that a run made.

    Attributes:
      version: number; only grows.
      state: `rejected` (not blessed), `registered` (blessed, not served yet), `published` (the champion),
        `retired` (a newer champion serves, or a newer twin is registered), `rolled_back`, `twin` (the registered
        fallback), `expired` (its files were deleted by retention).
      mode: `warm`, `cold`, or `twin` (as cold, but for the fallback).
      parent: the champion that it was compared with and that a warm run continued; for a version that was promoted
        under a new number, the old number. None for the first.
      span: id of the run's span; `span_version`: its version then.
      spans: ids of all spans it was trained on in this run.
      run_id: the run that made it.
      metrics: `challenger` and `champion` (or None), metric by metric.
      model_dir: where it is (or was last) served from; None before that and after a rollback.
      created: when it was registered, ISO 8601 with zone.
      transform: `reused` or `refreshed`.
      code_digest: of code, schema and settings, part by part (`noria.pipeline.runs.lineage`).
      verdict: of `model` and `data`, see `summary`; `Registry.verdict` reads the complete ones.
      reasons: why it was blessed or not.
      rows: rows of the run by kind (`train`, `eval`, `unlabelled`, `new`, `replay`).
      payload: its folder in the registry.
      digests: sha256 of each file of the payload, by relative path.
      promoted: who promoted it against its verdict, and why; or None.
      withheld: why it was not published although it is blessed; or None.
    """

    version: int
    state: str
    mode: str
    run_id: str
    payload: str
    created: str
    parent: int | None = None
    span: int | None = None
    span_version: int | None = None
    spans: tuple[int, ...] = ()
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    model_dir: str | None = None
    transform: str | None = None
    code_digest: str | None = None
    verdict: dict[str, Any] = dataclasses.field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    promoted: dict[str, Any] | None = None
    withheld: str | None = None

    @property
    def payload_path(self) -> Path:
        """The payload's folder: serving/, checkpoint/, transform_graph/, ..."""
        return files.fetched(Path(self.payload))

    def to_json(self) -> dict[str, Any]:
        """For `--json` and the registry's own file; without the digests."""
        values = dataclasses.asdict(self)
        del values["digests"]
        return values


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One run of the pipeline on one span.

    Attributes:
      span: id of the span; `span_version`: its version then.
      run_id: the run.
      data_verdict: `ok`, `drifted`, `broken`, or `thin` (too few rows to train or judge on).
      model_verdict: `blessed`, `rejected`, `twin` (registered as the fallback), `skipped` (broken or thin data: nothing
        was trained) or None.
      mode: `warm`, `cold`, `twin` or None.
      version: the version it made, if it made one.
      metrics: `challenger` and `champion` (or None) on the same rows.
      reasons: of both verdicts.
      rows: rows by kind.
      seconds: by stage.
      started, finished: ISO 8601 with zone.
      report: path of the HTML report.
      unquarantined: who took the broken span out of quarantine with force, and why; or None.
      withheld: why a blessed version was not published; the span then waits for another run.
      alarms: what is wrong with the version that serves after the run: it fails a bound of the model gate.
      twin: `version`, `loss`, and `champion`: the loss of the champion on the same rows of the span, which neither had
        learnt; both None where the twin cannot predict them. None without a twin.
    """

    span: int
    run_id: str
    span_version: int | None = None
    data_verdict: str | None = None
    model_verdict: str | None = None
    mode: str | None = None
    version: int | None = None
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    started: str | None = None
    finished: str | None = None
    report: str | None = None
    unquarantined: str | None = None
    withheld: str | None = None
    alarms: tuple[str, ...] = ()
    twin: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Unquarantine:
    """A person's decision to take a span out of quarantine.

    Attributes:
      span: id of the span; `span_version`: the version it is about.
      reason: why; `actor`: who; `at`: when, ISO 8601 with zone.
      forced: whether the gate's `broken` counts as `drifted` from now on; otherwise the gates judge it again.
    """

    span: int
    span_version: int
    reason: str
    actor: str
    at: str
    forced: bool = False

    def __str__(self) -> str:
        return f"taken out of quarantine by {self.actor}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Normal:
    """The decision that a state of the data is the new normal: the data gate compares with nothing older.

    Attributes:
      span: the first span of it.
      accepted: (check, feature) of the schema's findings that no longer stop the pipeline.
      reason: why; `actor`: who, or `data gate`; `at`: when, ISO 8601 with zone.
    """

    span: int
    accepted: tuple[tuple[str, str], ...]
    reason: str
    actor: str
    at: str

    def __str__(self) -> str:
        return f"the reference begins with span {self.span} ({self.actor}): {self.reason}"


def summary(verdict: dict[str, Any]) -> dict[str, Any]:
    """The part of both gates' verdicts that is in the log: two lines instead of 60 KB."""
    kept = {
        "model": ("blessed", "first_run", "baseline", "alarms", "twin"),
        "data": ("verdict", "unquarantined"),
    }
    return {
        gate: {key: given[key] for key in kept.get(gate, ()) if given.get(key) is not None}
        for gate, given in verdict.items()
    }


def run_of(version: Version, **fields: Any) -> RunRecord:
    """The run that made a version; `fields` add to what the version gives, or replace it."""
    known: dict[str, Any] = {
        "span": version.span,
        "span_version": version.span_version,
        "run_id": version.run_id,
        "data_verdict": version.verdict.get("data", {}).get("verdict"),
        "model_verdict": {REJECTED: "rejected", TWIN: "twin"}.get(version.state, "blessed"),
        "mode": version.mode,
        "version": version.version,
        "metrics": version.metrics,
        "reasons": version.reasons,
        "rows": version.rows,
        "unquarantined": version.verdict.get("data", {}).get("unquarantined"),
        "withheld": version.withheld,
        "alarms": tuple(version.verdict.get("model", {}).get("alarms") or ()),
        "twin": version.verdict.get("model", {}).get("twin"),
    }
    return RunRecord(**{**known, **fields})


def broken_run(note: dict[str, Any]) -> RunRecord:
    """The run that ended at the DataGate without training, from the span's note of quarantine."""
    return RunRecord(
        span=note["span"],
        span_version=note["version"],
        run_id=note["run_id"],
        data_verdict="broken",
        model_verdict="skipped",
        reasons=tuple(note["verdict"]["reasons"]),
    )


@dataclasses.dataclass
class State:
    """The state of a registry, after its events.

    Attributes:
      folder: of the payloads; not in the events, because a home can be moved.
      versions: by number.
      runs: by run id, in the order of their first event.
      unquarantined: span -> the newest decision to take it out of quarantine.
      normal: the newest decision that a state is the new normal.
      awaiting: spans that were taken out of quarantine and had no run since.
      served: numbers of the versions that have served and still count as good, oldest first; the last one is
        the champion.
      publishing: version whose publishing began and has not ended -> its model root.
      rolling_back: the rollback that began and has not ended.
      ever_served: the largest number that ever was in a model directory.
      staged: versions that are, or wait to be, the candidate of a rollout.
      rollouts: by id, the newest event of each.
      forgetting: requests to forget by id: `begun` or `done`.
      retiring: the retirement of spans that began and has not ended.
      retirement: the newest one that has ended: `spans`, `reason`, `actor`, `at` and what was deleted.
    """

    folder: Path
    versions: dict[int, Version] = dataclasses.field(default_factory=dict)
    runs: dict[str, RunRecord] = dataclasses.field(default_factory=dict)
    unquarantined: dict[int, Unquarantine] = dataclasses.field(default_factory=dict)
    normal: Normal | None = None
    awaiting: set[int] = dataclasses.field(default_factory=set)
    served: list[int] = dataclasses.field(default_factory=list)
    publishing: dict[int, str] = dataclasses.field(default_factory=dict)
    rolling_back: dict[str, Any] | None = None
    ever_served: int = 0
    staged: set[int] = dataclasses.field(default_factory=set)
    rollouts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    forgetting: dict[str, str] = dataclasses.field(default_factory=dict)
    retiring: dict[str, Any] | None = None
    retirement: dict[str, Any] | None = None

    def apply(self, event: dict[str, Any]) -> None:
        """Applies one event. Unknown kinds are ignored."""
        getattr(self, f"_{event['kind']}", lambda event: None)(event)

    def copy(self) -> "State":
        """A copy that can apply further events; versions, runs and events in it are immutable."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        held: dict[str, Any] = {
            name: value.copy() for name, value in fields.items() if isinstance(value, dict | set | list)
        }
        return dataclasses.replace(self, **held)

    @property
    def champion(self) -> Version | None:
        return self.versions[self.served[-1]] if self.served else None

    @property
    def twin(self) -> Version | None:
        """The registered fallback."""
        return next((each for each in self.versions.values() if each.state == TWIN), None)

    def _change(self, number: int, **changes: Any) -> None:
        self.versions[number] = dataclasses.replace(self.versions[number], **changes)

    def _registered(self, event: dict[str, Any]) -> None:
        version = _from_json(Version, event["version"])
        payload = str(self.folder / str(version.version))
        if version.state == TWIN and self.twin is not None:
            self._change(self.twin.version, state=RETIRED)
        self.versions[version.version] = dataclasses.replace(version, payload=payload)

    def _run(self, event: dict[str, Any]) -> None:
        run = _from_json(RunRecord, event["run"])
        if run.run_id not in self.runs:
            self.awaiting.discard(run.span)
        self.runs[run.run_id] = run

    def _unquarantined(self, event: dict[str, Any]) -> None:
        decision = _from_json(Unquarantine, event)
        self.unquarantined[decision.span] = decision
        self.awaiting.add(decision.span)

    def _normal(self, event: dict[str, Any]) -> None:
        accepted = tuple((check, feature) for check, feature in event["accepted"])
        self.normal = _from_json(Normal, {**event, "accepted": accepted})

    def _publishing(self, event: dict[str, Any]) -> None:
        self.publishing[event["version"]] = event["model_root"]

    def _published(self, event: dict[str, Any]) -> None:
        number = event["version"]
        self.publishing.pop(number, None)
        self.staged.discard(number)
        if self.champion is not None and self.champion.version != number:
            self._change(self.champion.version, state=RETIRED)
        if number not in self.served:
            self.served.append(number)
        self.ever_served = max(self.ever_served, number)
        self._change(number, state=PUBLISHED, model_dir=event["model_dir"], withheld=None)

    def _withheld(self, event: dict[str, Any]) -> None:
        self.publishing.pop(event["version"], None)
        reasons = (*self.versions[event["version"]].reasons, event["reason"])
        self._change(event["version"], withheld=event["reason"], reasons=reasons)

    def _abandoned(self, event: dict[str, Any]) -> None:
        self.publishing.pop(event["version"], None)

    def _promoted(self, event: dict[str, Any]) -> None:
        audit = {key: event[key] for key in ("version", "reason", "actor", "at")}
        if self.twin is not None and event["version"] == self.twin.version:
            self._change(event["version"], state=RETIRED)  # the champion is it, or its copy
        self._change(event["as_version"], promoted=audit, state=REGISTERED)
        self.publishing[event["as_version"]] = event["model_root"]

    def _rolling_back(self, event: dict[str, Any]) -> None:
        self.rolling_back = event

    def _rolled_back(self, event: dict[str, Any]) -> None:
        self.rolling_back = None
        if event["to"] not in self.served:  # the twin, under a number of today
            self.served.insert(-1, event["to"])
            self.ever_served = max(self.ever_served, event["to"])
            if self.twin is not None:
                self._change(self.twin.version, state=RETIRED)
        # The versions between the two left the model directory with it.
        while self.served and self.served[-1] != event["to"]:
            self._change(self.served.pop(), state=ROLLED_BACK, model_dir=None)
        self._change(event["to"], state=PUBLISHED, model_dir=event["model_dir"])

    def _staged(self, event: dict[str, Any]) -> None:
        self.staged.add(event["version"])

    def _unstaged(self, event: dict[str, Any]) -> None:
        self.staged.discard(event["version"])

    def _rollout(self, event: dict[str, Any]) -> None:
        self.rollouts[event["rollout"]] = event
        number = event["version"]
        if event["status"] == "aborted" and number in self.staged:
            self.staged.discard(number)
            self._change(number, state=ROLLED_BACK)
        elif event["status"] == "promoted":
            self.staged.discard(number)  # its number may be another one now

    def _forgetting(self, event: dict[str, Any]) -> None:
        self.forgetting[event["request"]] = "begun"

    def _forgotten(self, event: dict[str, Any]) -> None:
        self.forgetting[event["request"]] = "done"

    def _retiring(self, event: dict[str, Any]) -> None:
        self.retiring = event

    def _spans_retired(self, event: dict[str, Any]) -> None:
        self.retiring, self.retirement = None, self.retiring

    def _expired(self, event: dict[str, Any]) -> None:
        for number in event["versions"]:
            self._change(number, state=EXPIRED)
            if number in self.served:
                self.served.remove(number)


def _from_json(kind: type, values: dict[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(kind)}
    known = {name: value for name, value in values.items() if name in names}
    for name in ("spans", "reasons", "alarms"):
        if name in known:
            known[name] = tuple(known[name])
    return kind(**known)
