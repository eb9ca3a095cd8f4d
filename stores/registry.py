"""The registry: every version, its lineage and its state, append-only.

    registry/events/<number:08d>.json      what happened
    registry/versions/<version>/           the payload of a version

Payload first, then event: an event never names files that do not exist. `publication` updates the model directory,
`recovery` finishes what a killed process left.
"""

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import RegistryError
from noria.core.locks import hold
from noria.stores import model_directory, state_cache
from noria.stores.event_log import EventLog
from noria.stores.versions import (
    REGISTERED,
    REJECTED,
    TWIN,
    Normal,
    RunRecord,
    State,
    Unquarantine,
    Version,
    run_of,
    summary,
)

__all__ = ["Registry", "RunRecord", "Unquarantine", "Version", "run_of"]

# Beside the payload's parts: all fields of the version, with the complete verdicts.
VERSION_FILE = "version.json"


class Registry:
    """The versions of one project.

    Args:
      home: the project's home folder.
      wait: seconds to wait for another writer of the registry.

    Attributes:
      log: the events; only for the holder of the lock (`writing`).
    """

    def __init__(self, home: Path | str, *, wait: float = 60):
        self.home = Path(home).absolute()
        self.folder = self.home / "registry"
        self.wait = wait
        self.log = EventLog(self.folder / "events")
        self._state = State(self.folder / "versions")
        self._seen = 0

    def versions(self) -> list[Version]:
        """All versions, ascending."""
        state = self.state()
        return [state.versions[number] for number in sorted(state.versions)]

    def version(self, number: int) -> Version:
        """One version.

        Raises:
          RegistryError: there is none with this number.
        """
        state = self.state()
        if number not in state.versions:
            known = ", ".join(map(str, sorted(state.versions))) or "none"
            raise RegistryError(
                f"there is no version {number}; known: {known}",
                where=self.folder,
                next_step="`noria status` lists them with their states",
            )
        return state.versions[number]

    def champion(self) -> Version | None:
        """The version that serves now; None before the first one."""
        return self.state().champion

    def verdict(self, number: int) -> dict[str, Any]:
        """`model` and `data` of a version, as the gates wrote them; a summary if retention has deleted its files."""
        version = self.version(number)
        try:
            text = (Path(version.payload) / VERSION_FILE).read_text(encoding="utf-8")
            return json.loads(text)["verdict"]
        except (OSError, ValueError, KeyError):
            return version.verdict

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        return list(self.state().runs.values())

    def record_run(self, run: RunRecord) -> None:
        """Records a run; a second record of a run replaces the first."""
        with self.writing("the run cannot be recorded"):
            self.log.append("run", run=dataclasses.asdict(run))

    def unquarantine_of(self, span: int, span_version: int, *, waiting: bool = False) -> Unquarantine | None:
        """The newest decision on a version of a span; with `waiting`, only if the span had no run since."""
        state = self.state()
        decision = state.unquarantined.get(span)
        if (
            decision is None
            or decision.span_version != span_version
            or (waiting and span not in state.awaiting)
        ):
            return None
        return decision

    def record_unquarantine(
        self, span: int, span_version: int, reason: str, actor: str, forced: bool
    ) -> Unquarantine:
        """Records that a person takes a span out of quarantine; `noria.stores.quarantine` moves the span."""
        decision = {"span": span, "span_version": span_version, "reason": reason, "actor": actor}
        with self.writing("the decision cannot be recorded"):
            self.log.append("unquarantined", **decision, forced=forced)
            return self.state().unquarantined[span]

    def normal(self) -> Normal | None:
        """The newest decision that a state of the data is the new normal."""
        return self.state().normal

    def record_normal(
        self, span: int, accepted: Iterable[tuple[str, str]], reason: str, actor: str
    ) -> Normal | None:
        """Records that the data from a span on are the new normal; the same decision twice is recorded once."""
        decision = {"span": span, "accepted": sorted(set(accepted)), "reason": reason, "actor": actor}
        with self.writing("the decision cannot be recorded"):
            known = self.state().normal
            if known is None or (known.span, known.actor, known.reason) != (span, actor, reason):
                self.log.append("normal", **decision)
            return self.state().normal

    def is_forgetting(self, request: str) -> str | None:
        """How far a request to forget is: `begun`, `done`, or None if it is not known."""
        return self.state().forgetting.get(request)

    def record_forgetting(self, request: str, reason: str, actor: str, facts: Mapping[str, Any]) -> None:
        """Records that the rows of some keys are about to be removed, before anything changes.

        Args:
          request: id of the request.
          reason: why; `actor`: who.
          facts: what was found; without the keys themselves.
        """
        with self.writing("the request cannot be recorded"):
            self.log.append("forgetting", request=request, reason=reason, actor=actor, **facts)

    def record_forgotten(self, request: str) -> None:
        """Records that the rows of a request are removed."""
        with self.writing("the request cannot be recorded"):
            self.log.append("forgotten", request=request)

    def record_retiring(
        self, spans: Iterable[int], reason: str, actor: str, facts: Mapping[str, Any]
    ) -> None:
        """Records that the rows of spans are about to be deleted, before anything changes.

        Args:
          spans: their ids.
          reason: why; `actor`: who.
          facts: what will be deleted.
        """
        with self.writing("the retirement cannot be recorded"):
            self.log.append("retiring", spans=sorted(spans), reason=reason, actor=actor, **facts)

    def record_spans_retired(self) -> None:
        """Records that the rows of the spans of the last retirement are deleted."""
        with self.writing("the retirement cannot be recorded"):
            self.log.append("spans_retired")

    def register(
        self,
        payload: Mapping[str, Path],
        *,
        blessed: bool = True,
        twin: bool = False,
        above: int = 0,
        **fields: Any,
    ) -> Version:
        """Stores a model under the next number.

        Args:
          payload: name in the payload -> the file or folder it is copied from; `serving` is the SavedModel.
          blessed: False stores it as `rejected`.
          twin: True stores it as the fallback, in place of an older one, if it is blessed.
          above: a number that the version's must be larger than.
          **fields: of `Version`; `run_id` is required. A run that registers again gets its version.

        Raises:
          RegistryError: a part of the payload is missing, a field is unknown, or the disk is full.
        """
        names = {field.name for field in dataclasses.fields(Version)}
        unknown = sorted(set(fields) - names | {"version", "state", "payload", "created"} & set(fields))
        if unknown or "run_id" not in fields:
            raise RegistryError(f"cannot register with {unknown[0]!r}" if unknown else "a run_id is needed")
        missing = [path for path in payload.values() if not Path(path).exists()]
        if missing:
            raise RegistryError("a part of the model is missing", where=missing[0], next_step="run again")
        with self.writing("the version cannot be stored"):
            self.adopt_orphans()
            state = self.state()
            for version in state.versions.values():
                if version.run_id == fields["run_id"]:
                    return version
            versions = self.folder / "versions"
            number = max([above, *state.versions, *model_directory.served(versions)]) + 1
            beside = files.staging(versions)
            try:
                beside.mkdir(parents=True)
                for name, path in payload.items():
                    files.copy_tree(Path(path), beside / name, link=False)
                version = Version(
                    version=number,
                    state=REJECTED if not blessed else TWIN if twin else REGISTERED,
                    payload="",  # the log holds no paths; State adds it
                    created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                    digests=files.tree_digests(beside),
                    **{"mode": "cold", **fields},
                )
                # Also in the payload: after a kill the event may be missing.
                # `vars` and not `asdict`: this copies the verdict value by value, of thousands of features.
                text = json.dumps(vars(version))
                (beside / VERSION_FILE).write_text(text, encoding="utf-8")
                files.commit_folder(beside, versions / str(number))
            finally:
                files.remove_tree(beside)
            self._append_registered(vars(version))
            return self.version(number)

    def adopt_orphans(self) -> list[int]:
        """Writes the events of complete versions whose process was killed before the event."""
        files.sweep(self.folder / "versions")
        known = self.state().versions
        adopted = []
        for number in model_directory.served(self.folder / "versions"):
            if number in known:
                continue
            path = self.folder / "versions" / str(number) / VERSION_FILE
            self._append_registered(json.loads(path.read_text(encoding="utf-8")))
            adopted.append(number)
        return adopted

    def state(self) -> State:
        """The state after all events so far."""
        if not self._seen:
            self._seen, self._state = state_cache.resume(self.log) or (0, self._state)
        before = self._seen
        for number, event in self.log.after(self._seen):
            self._state.apply(event)
            self._seen = number
        if self._seen != before:
            state_cache.remember(self.log, self._seen, self._state)
        return self._state

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Holds the registry's lock, and explains errors of the disk."""
        with (
            hold(self.folder, wait=self.wait, name=".lock"),
            files.explained(what, self.folder, RegistryError),
        ):
            yield

    def _append_registered(self, version: dict[str, Any]) -> None:
        self.log.append("registered", version={**version, "verdict": summary(version["verdict"])})
