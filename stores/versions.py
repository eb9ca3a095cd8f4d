"""What the registry knows: versions, turns, and how events change them."""

import dataclasses
from pathlib import Path
from typing import Any

REJECTED = "rejected"
REGISTERED = "registered"
PUBLISHED = "published"
RETIRED = "retired"
ROLLED_BACK = "rolled_back"
EXPIRED = "expired"


@dataclasses.dataclass(frozen=True)
class Version:
    """One model that a run made.

    Attributes:
      version: number; only grows.
      state: `rejected` (not blessed), `registered` (blessed, not served yet), `published` (the champion),
        `retired` (a newer champion serves), `rolled_back`, `expired` (its files were deleted by retention).
      mode: `warm` or `cold`.
      parent: the version it went on from; None for the first.
      span: id of its newest span.
      spans: ids of all spans it was trained on in this run.
      run_id: the run that made it.
      metrics: `challenger` and `champion` (or None), metric by metric.
      model_dir: where it is (or was last) served from; None while it was not.
      created: when it was registered, ISO 8601 with zone.
      transform: `reused` or `refreshed`.
      transform_digest: digest of the transform graph.
      code_digest: of code, schema and settings, part by part (`noria.pipeline.lineage`).
      verdict: `model` and `data`, as their gates wrote them.
      reasons: why it was blessed or not.
      rows: rows of the run by kind (`train`, `eval`, `unlabelled`, `new`, `replay`).
      payload: its folder in the registry.
      digests: sha256 of each file of the payload, by relative path.
      promoted: who forced it into service and why; None where nobody did.
    """

    version: int
    state: str
    mode: str
    run_id: str
    payload: str
    created: str
    parent: int | None = None
    span: int | None = None
    spans: tuple[int, ...] = ()
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    model_dir: str | None = None
    transform: str | None = None
    transform_digest: str | None = None
    code_digest: str | None = None
    verdict: dict[str, Any] = dataclasses.field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    promoted: dict[str, Any] | None = None

    @property
    def payload_path(self) -> Path:
        """The payload's folder: serving/, checkpoint/, transform_graph/, ..."""
        return Path(self.payload)

    def to_json(self) -> dict[str, Any]:
        """For `--json` and the registry's own file; without the digests."""
        values = dataclasses.asdict(self)
        del values["digests"]
        return values


@dataclasses.dataclass(frozen=True)
class Turn:
    """One turn of the wheel on one span.

    Attributes:
      span: id of the span; `span_version`: its version then.
      run_id: the run.
      data_verdict: `ok`, `drifted` or `broken`.
      model_verdict: `blessed`, `rejected`, `skipped` (broken data: nothing was trained) or None.
      mode: `warm`, `cold` or None.
      version: the version it made, if it made one.
      metrics: `challenger` and `champion` (or None) on the same rows.
      reasons: of both verdicts.
      rows: rows by kind.
      seconds: by stage.
      started, finished: ISO 8601 with zone.
      report: path of the HTML report.
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


def turn_of(version: Version, **facts: Any) -> Turn:
    """The turn that made a version; `facts` fill in or replace what the version does not know."""
    known: dict[str, Any] = {
        "span": version.span,
        "run_id": version.run_id,
        "data_verdict": version.verdict.get("data", {}).get("verdict"),
        "model_verdict": "rejected" if version.state == REJECTED else "blessed",
        "mode": version.mode,
        "version": version.version,
        "metrics": version.metrics,
        "reasons": version.reasons,
        "rows": version.rows,
    }
    return Turn(**{**known, **facts})


@dataclasses.dataclass
class State:
    """The fold over the events.

    Attributes:
      folder: where the payloads are; a home can be moved, so events don't say it.
      versions: by number.
      turns: by run id, in the order of their first event.
      served: numbers of the versions that have served and still count as good, oldest first; the last one is
        the champion.
      publishing: version whose publishing began and has not ended -> its model root.
      rolling_back: the rollback that began and has not ended.
      ever_served: the largest number that ever was in a model directory.
    """

    folder: Path
    versions: dict[int, Version] = dataclasses.field(default_factory=dict)
    turns: dict[str, Turn] = dataclasses.field(default_factory=dict)
    served: list[int] = dataclasses.field(default_factory=list)
    publishing: dict[int, str] = dataclasses.field(default_factory=dict)
    rolling_back: dict[str, Any] | None = None
    ever_served: int = 0

    def apply(self, event: dict[str, Any]) -> None:
        """Folds one event in. Kinds this release does not know are left alone."""
        getattr(self, f"_{event['kind']}", lambda event: None)(event)

    @property
    def champion(self) -> Version | None:
        return self.versions[self.served[-1]] if self.served else None

    def _change(self, number: int, **changes: Any) -> None:
        self.versions[number] = dataclasses.replace(self.versions[number], **changes)

    def _registered(self, event: dict[str, Any]) -> None:
        version = _from_json(Version, event["version"])
        payload = str(self.folder / str(version.version))
        self.versions[version.version] = dataclasses.replace(version, payload=payload)

    def _turn(self, event: dict[str, Any]) -> None:
        turn = _from_json(Turn, event["turn"])
        self.turns[turn.run_id] = turn

    def _publishing(self, event: dict[str, Any]) -> None:
        self.publishing[event["version"]] = event["model_root"]

    def _published(self, event: dict[str, Any]) -> None:
        number = event["version"]
        self.publishing.pop(number, None)
        if self.champion is not None and self.champion.version != number:
            self._change(self.champion.version, state=RETIRED)
        if number not in self.served:
            self.served.append(number)
        self.ever_served = max(self.ever_served, number)
        self._change(number, state=PUBLISHED, model_dir=event["model_dir"])

    def _abandoned(self, event: dict[str, Any]) -> None:
        self.publishing.pop(event["version"], None)

    def _promoted(self, event: dict[str, Any]) -> None:
        audit = {key: event[key] for key in ("version", "reason", "actor", "at")}
        self._change(event["as_version"], promoted=audit, state=REGISTERED)
        self.publishing[event["as_version"]] = event["model_root"]

    def _rolling_back(self, event: dict[str, Any]) -> None:
        self.rolling_back = event

    def _rolled_back(self, event: dict[str, Any]) -> None:
        self.rolling_back = None
        self._change(event["version"], state=ROLLED_BACK)
        while self.served and self.served[-1] != event["to"]:
            self.served.pop()
        self._change(event["to"], state=PUBLISHED, model_dir=event["model_dir"])

    def _expired(self, event: dict[str, Any]) -> None:
        for number in event["versions"]:
            self._change(number, state=EXPIRED)
            if number in self.served:
                self.served.remove(number)


def _from_json(kind: type, values: dict[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(kind)}
    known = {name: value for name, value in values.items() if name in names}
    for name in ("spans", "reasons"):
        if name in known:
            known[name] = tuple(known[name])
    return kind(**known)
