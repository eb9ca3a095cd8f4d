"""The registry: every version, its lineage and its state, append-only; and the model directory, kept in step.

    registry/events/<number:08d>.json      what happened
    registry/versions/<version>/           the payload of a version

Whatever takes several steps writes down first what it is about to do, so that `recover` can finish it after a
kill at any instant. Payload, then event: an event never speaks of files that are not there.
"""

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noria.stores import files, model_root
from noria.stores.errors import RegistryError
from noria.stores.events import EventLog
from noria.stores.lock import hold
from noria.stores.versions import (
    EXPIRED,
    PUBLISHED,
    REGISTERED,
    REJECTED,
    ROLLED_BACK,
    Release,
    State,
    Turn,
    Version,
    broken_turn,
    summary,
    turn_of,
)

__all__ = ["Registry", "Release", "Turn", "Version", "turn_of"]

SERVING = "serving"
# Beside the payload's parts: all facts of the version, the verdicts whole.
FACTS = "version.json"


class Registry:
    """The versions of one project.

    Args:
      home: the project's home folder.
      wait: seconds to wait for another writer of the registry.
    """

    def __init__(self, home: Path | str, *, wait: float = 60):
        self.home = Path(home).absolute()
        self.folder = self.home / "registry"
        self.wait = wait
        self._log = EventLog(self.folder / "events")
        self._state = State(self.folder / "versions")
        self._seen = 0

    def versions(self) -> list[Version]:
        """All versions, ascending."""
        state = self._fold()
        return [state.versions[number] for number in sorted(state.versions)]

    def version(self, number: int) -> Version:
        """One version.

        Raises:
          RegistryError: there is none with this number.
        """
        state = self._fold()
        if number not in state.versions:
            known = ", ".join(map(str, sorted(state.versions))) or "none"
            raise RegistryError(
                f"there is no version {number}; known: {known}",
                where=self.folder,
                next_step="`noria status` lists them with their states",
            )
        return state.versions[number]

    def champion(self) -> Version | None:
        """The version that serves now, None before the first one."""
        return self._fold().champion

    def verdict(self, number: int) -> dict[str, Any]:
        """`model` and `data` of a version, as their gates wrote them; a summary where retention deleted its files."""
        version = self.version(number)
        try:
            text = (version.payload_path / FACTS).read_text(encoding="utf-8")
            return json.loads(text)["verdict"]
        except (OSError, ValueError, KeyError):
            return version.verdict

    def turns(self) -> list[Turn]:
        """All turns, oldest first."""
        return list(self._fold().turns.values())

    def record_turn(self, turn: Turn) -> None:
        """Writes a turn down; recording a run again replaces what was known of it."""
        with self._writing("the turn cannot be recorded"):
            self._log.append("turn", turn=dataclasses.asdict(turn))

    def release_of(self, span: int, span_version: int, *, waiting: bool = False) -> Release | None:
        """The newest release of a version of a span; with `waiting`, only if the span had no turn since."""
        state = self._fold()
        release = state.releases.get(span)
        if (
            release is None
            or release.span_version != span_version
            or (waiting and span not in state.unturned)
        ):
            return None
        return release

    def record_release(self, span: int, span_version: int, reason: str, actor: str, forced: bool) -> Release:
        """Writes down that a person takes a span out of quarantine; `noria.stores.quarantine` does it."""
        facts = {"span": span, "span_version": span_version, "reason": reason, "actor": actor}
        with self._writing("the release cannot be recorded"):
            self._log.append("released", **facts, forced=forced)
            return self._fold().releases[span]

    def register(
        self, payload: Mapping[str, Path], *, blessed: bool = True, above: int = 0, **facts: Any
    ) -> Version:
        """Stores a model under the next number.

        Args:
          payload: name in the payload -> the file or folder it is copied from; `serving` is the SavedModel.
          blessed: False stores it as `rejected`.
          above: a number that the version's must be larger than.
          **facts: fields of `Version`; `run_id` is required; a run that registers again gets its version.

        Raises:
          RegistryError: a part of the payload is missing, an unknown fact, the disk is full.
        """
        names = {field.name for field in dataclasses.fields(Version)}
        unknown = sorted(set(facts) - names | {"version", "state", "payload", "created"} & set(facts))
        if unknown or "run_id" not in facts:
            raise RegistryError(f"cannot register with {unknown[0]!r}" if unknown else "a run_id is needed")
        missing = [path for path in payload.values() if not Path(path).exists()]
        if missing:
            raise RegistryError("a part of the model is missing", where=missing[0], next_step="run again")
        with self._writing("the version cannot be stored"):
            self._adopt_orphans()
            state = self._fold()
            for version in state.versions.values():
                if version.run_id == facts["run_id"]:
                    return version
            versions = self.folder / "versions"
            number = max([above, *state.versions, *model_root.served(versions)]) + 1
            beside = files.staging(versions)
            try:
                beside.mkdir(parents=True)
                for name, path in payload.items():
                    files.copy_tree(Path(path), beside / name, link=False)
                version = Version(
                    version=number,
                    state=REGISTERED if blessed else REJECTED,
                    payload="",  # the log knows no places; State fills it in
                    created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                    digests=files.tree_digests(beside),
                    **{"mode": "cold", **facts},
                )
                # Inside the payload: a version whose event is missing after a kill still knows its facts.
                text = json.dumps(dataclasses.asdict(version))
                (beside / FACTS).write_text(text, encoding="utf-8")
                files.commit_folder(beside, versions / str(number))
            finally:
                files.remove_tree(beside)
            self._append_registered(dataclasses.asdict(version))
            return self.version(number)

    def publish(self, number: int, root: Path) -> Version:
        """Makes a registered version the champion: into the model directory by one rename, then into the log.

        May be repeated after a kill at any instant; a version that serves already is checked and, where its
        folder is gone, put back.

        A version whose parent does not serve any more was judged against something else than what it would
        replace: it stays registered, and `withheld` says why. A person's promotion is not held up by this.

        Raises:
          RegistryError: the version is not blessed, is older than what serves, or is damaged.
        """
        root = Path(root)
        with self._writing("the version cannot be published"):
            version = self.version(number)
            state = self._fold()
            if version.state == PUBLISHED:
                self._serve(version, root)
                return version
            if version.state != REGISTERED:
                raise RegistryError(
                    f"version {number} is {version.state}, only a registered one can be published",
                    where=self.folder,
                    next_step=f"`noria promote {number} --force --reason ...` publishes it all the same",
                )
            serving = state.champion.version if state.champion else None
            if version.promoted is None and serving != version.parent:
                return self._withhold(version, serving)
            newer = [each for each in {*model_root.served(root), state.ever_served} if each > number]
            if newer:
                raise RegistryError(
                    f"version {number} is older than version {max(newer)}, which is or was served; "
                    "TF Serving would pass over it",
                    where=root,
                    next_step=f"`noria promote {number} --force --reason ...` gives it a new number, or "
                    "clear the model directory of versions that are not from this registry",
                )
            files.sweep(root)
            if state.publishing.get(number) != str(root):
                self._log.append("publishing", version=number, model_root=str(root))
            model_dir = self._serve(version, root)
            self._log.append("published", version=number, model_dir=str(model_dir))
            return self.version(number)

    def recover(self, root: Path) -> list[str]:
        """Finishes what a killed process began, and sweeps what it left.

        Returns:
          What it did, one sentence each; empty where there was nothing to do.
        """
        root = Path(root)
        done = []
        with self._writing("the registry cannot be recovered"):
            for folder in (root, self.folder / "versions", self.folder / "events"):
                done += [f"swept unfinished {path.name} from {folder}" for path in files.sweep(folder)]
            adopted = self._adopt_orphans()
            done += [f"registered version {number}, which a run had stored" for number in adopted]
            intent = self._fold().rolling_back
            if intent is not None:
                self._finish_rollback(intent)
                done.append(f"finished the rollback from version {intent['version']} to {intent['to']}")
            for number in sorted(self._fold().publishing):
                state = self._fold()
                is_now = state.versions[number].state
                if number < state.ever_served or is_now != REGISTERED:
                    self._log.append("abandoned", version=number)
                    done.append(f"gave up publishing version {number}, which is {is_now}")
                    continue
                withheld = self.publish(number, root).withheld
                done.append(withheld or f"finished publishing version {number}")
            done += self._close_turns(root)
            done += self._close_broken()
            champion = self._fold().champion
            if champion is not None and champion.version not in model_root.served(root):
                self._serve(champion, root)
                done.append(f"put version {champion.version} back into {root}")
            done += self._delete_expired(root)
        return done

    def promote(self, number: int, reason: str, actor: str, root: Path) -> Version:
        """Publishes a version whatever its verdict; who did it and why goes into the log.

        A version that is older than what serves or served, be it from elsewhere, gets a new number, with the old
        one as its parent, because TF Serving takes the largest.

        Returns:
          The version that serves now.

        Raises:
          RegistryError: no reason, it serves already, or its files were deleted.
        """
        root = Path(root)
        if not reason.strip():
            raise RegistryError("a promotion needs a reason", next_step='add --reason "..."')
        with self._writing("the version cannot be promoted"):
            version = self.version(number)
            if version.state == PUBLISHED:
                raise RegistryError(f"version {number} serves already", where=version.model_dir)
            if version.state == EXPIRED:
                raise RegistryError(
                    f"version {number} is expired: retention deleted its files",
                    where=self.folder,
                    next_step="promote a later version; `noria status` lists them",
                )
            state = self._fold()
            newest = max([state.ever_served, *model_root.served(root)])
            for each in state.versions.values():
                pending = each.promoted and each.promoted["version"] == number and each.state == REGISTERED
                if pending and each.version >= newest:
                    return self.publish(each.version, root)
            target = version
            if number <= newest:
                target = self._register_again(version, state, above=newest)
            self._log.append(
                "promoted",
                version=number,
                as_version=target.version,
                reason=reason,
                actor=actor,
                was=version.state,
                model_root=str(root),
            )
            return self.publish(target.version, root)

    def rollback(self, root: Path, reason: str, actor: str, to: int | None = None) -> Version:
        """Makes an earlier champion the champion again.

        The model directory changes by one rename that takes the bad version out of it, so that the largest
        number left is the good one. Called again after a kill it finishes what it began.

        Args:
          root: the model directory.
          reason: why; goes into the log.
          actor: who.
          to: the version to go back to; the champion's predecessor by default.

        Returns:
          The version that serves now.

        Raises:
          RegistryError: there is no earlier good version, or its files are gone.
        """
        root = Path(root)
        with self._writing("the version cannot be rolled back"):
            begun = self._fold().rolling_back
            if begun is not None:
                self._finish_rollback(begun)
                return self.version(begun["to"])
            state = self._fold()
            earlier = state.served[:-1]
            if not earlier:
                only = f"only version {state.served[-1]} ever served" if state.served else "none ever served"
                raise RegistryError(
                    f"there is no version to go back to: {only}",
                    where=self.folder,
                    next_step="publish a better version, or take the model out of service by hand",
                )
            target = earlier[-1] if to is None else to
            if target not in earlier:
                raise RegistryError(
                    f"version {target} is not one to go back to; these served before and count as good: "
                    f"{', '.join(map(str, earlier))}",
                    where=self.folder,
                    next_step="name one of these, or `noria promote` the version under a new number",
                )
            foreign = [
                each for each in model_root.served(root) if each > target and each not in state.versions
            ]
            if foreign:
                raise RegistryError(
                    f"version {target} cannot serve beside version {max(foreign)}, which is not from this registry: "
                    "TF Serving takes the largest",
                    where=root,
                    next_step="take it out of the model directory, or `noria promote "
                    f"{target} --force --reason ...`, which gives version {target} a larger number",
                )
            # All that can fail comes before anything is changed.
            self._serve(self.version(target), root)
            intent = {
                "version": state.served[-1],
                "to": target,
                "model_root": str(root),
                "reason": reason,
                "actor": actor,
            }
            self._log.append("rolling_back", **intent)
            self._finish_rollback(intent)
            return self.version(target)

    def retain(self, keep: int, root: Path) -> list[int]:
        """Deletes the files of old versions; what the log says of them stays.

        Kept are the newest `keep` versions, the champion, the version a rollback would go to, the last good
        one of the champion's parent chain, and versions that are about to be published.

        Returns:
          The versions that expired now.
        """
        if keep < 1:
            raise RegistryError(f"at least one version must be kept, got {keep}")
        root = Path(root)
        with self._writing("old versions cannot be deleted"):
            state = self._fold()
            alive = sorted(number for number, v in state.versions.items() if v.state != EXPIRED)
            kept = {*alive[-keep:], *state.served[-2:], *state.publishing, *_last_good_parent(state)}
            gone = [number for number in alive if number not in kept]
            if gone:
                # The log first: nobody shall rely on files that are about to go.
                self._log.append("expired", versions=gone)
            self._delete_expired(root)
            return gone

    def _fold(self) -> State:
        for number, event in self._log.after(self._seen):
            self._state.apply(event)
            self._seen = number
        return self._state

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """The registry's lock, and errors of the disk in words."""
        with (
            hold(self.folder, wait=self.wait, name=".lock"),
            files.explained(what, self.folder, RegistryError),
        ):
            yield

    def _serve(self, version: Version, root: Path) -> Path:
        # Where it is there already, or can be put back, adding only checks it.
        if not (root / str(version.version)).exists():
            model_root.restore(root, version.version)
        payload = version.payload_path / SERVING
        return model_root.add(root, version.version, payload, _serving_digests(version))

    def _finish_rollback(self, intent: dict[str, Any]) -> None:
        root, target = Path(intent["model_root"]), intent["to"]
        model_dir = self._serve(self.version(target), root)
        known = self._fold().versions
        bad = [each for each in model_root.served(root) if each > target and each in known]
        model_root.withdraw(root, bad)
        facts = {key: intent[key] for key in ("version", "to", "reason", "actor")}
        self._log.append("rolled_back", **facts, model_dir=str(model_dir))

    def _append_registered(self, version: dict[str, Any]) -> None:
        self._log.append("registered", version={**version, "verdict": summary(version["verdict"])})

    def _withhold(self, version: Version, serving: int | None) -> Version:
        names = [f"version {n}" if n is not None else "no version" for n in (version.parent, serving)]
        reason = f"was judged against {names[0]}, but {names[1]} serves now; run again"
        if version.withheld != reason:
            self._log.append("withheld", version=version.version, reason=reason)
        return self.version(version.version)

    def _register_again(self, version: Version, state: State, above: int) -> Version:
        again = sum(1 for each in state.versions.values() if each.parent == version.version)
        facts = {field.name: getattr(version, field.name) for field in dataclasses.fields(Version)}
        for name in (
            "version",
            "state",
            "payload",
            "created",
            "model_dir",
            "digests",
            "promoted",
            "withheld",
        ):
            del facts[name]
        facts["verdict"] = self.verdict(version.version)
        facts.update(parent=version.version, run_id=f"{version.run_id}.promoted-{again + 1}")
        for each in state.versions.values():
            # Registered again before, by a promotion that was killed before it was written down.
            unused = each.parent == version.version and each.state == REJECTED and each.promoted is None
            if unused and each.version > above and each.run_id.startswith(f"{version.run_id}.promoted-"):
                return each
        parts = [path for path in version.payload_path.iterdir() if path.name != FACTS]
        # As rejected: should the promotion be killed before its event, nothing may publish it.
        return self.register({path.name: path for path in parts}, blessed=False, above=above, **facts)

    def _adopt_orphans(self) -> list[int]:
        """Writes the event of versions that are stored whole but whose event a kill prevented."""
        files.sweep(self.folder / "versions")
        known = self._fold().versions
        adopted = []
        for number in model_root.served(self.folder / "versions"):
            if number in known:
                continue
            path = self.folder / "versions" / str(number) / FACTS
            self._append_registered(json.loads(path.read_text(encoding="utf-8")))
            adopted.append(number)
        return adopted

    def _close_turns(self, root: Path) -> list[str]:
        """Ends the turns of runs that were killed after their version was stored: no work is done twice."""
        done = []
        for version in self.versions():
            state = self._fold()
            if version.span is None or version.run_id in state.turns or ".promoted-" in version.run_id:
                continue
            waits = version.state == REGISTERED and version.promoted is None
            serving = state.champion.version if state.champion else None
            # Where another version has taken over, publishing says so and withholds it.
            if waits and (version.version > state.ever_served or version.parent != serving):
                version = self.publish(version.version, root)
            self._log.append("turn", turn=dataclasses.asdict(turn_of(version)))
            done.append(
                f"ended the turn of span {version.span}: version {version.version} is {version.state}"
            )
        return done

    def _close_broken(self) -> list[str]:
        """Ends the turns of runs that were killed after they had put their span in quarantine."""
        from noria.stores.spans import SpanStore  # imports Arrow, which who only asks for a version need not

        done = []
        for span, note in SpanStore(self.home).quarantined().items():
            if note.get("run_id") is None or note["run_id"] in self._fold().turns:
                continue
            self._log.append("turn", turn=dataclasses.asdict(broken_turn(note)))
            done.append(f"ended the turn of span {span}: it is broken and in quarantine")
        return done

    def _delete_expired(self, root: Path) -> list[str]:
        done = []
        for version in self._fold().versions.values():
            leftovers = [version.payload_path, root / str(version.version)]
            leftovers.append(root / f"{model_root.WITHDRAWN}{version.version}")
            if version.state == EXPIRED and any(path.exists() for path in leftovers):
                files.remove_tree(version.payload_path)
                model_root.delete(root, version.version)
                done.append(f"deleted the files of version {version.version}, which is expired")
        return done


def _serving_digests(version: Version) -> dict[str, str]:
    folder = f"{SERVING}/"
    digests = version.digests.items()
    return {name[len(folder) :]: digest for name, digest in digests if name.startswith(folder)}


def _last_good_parent(state: State) -> list[int]:
    number = state.champion.parent if state.champion else None
    while number is not None and number in state.versions:
        version = state.versions[number]
        if version.state not in (REJECTED, ROLLED_BACK, EXPIRED):
            return [number]
        number = version.parent
    return []
