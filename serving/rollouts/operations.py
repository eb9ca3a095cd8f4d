"""What can be done with a rollout: by the command line, the admin API, and the server that judges it.

Each change is one replacement of the rollout's file. What follows from its end (`finish`) can be repeated after a kill:
the model directory and the registry are brought in line with the file.
"""

import dataclasses
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import ServingError
from noria.core.locks import hold
from noria.serving.rollouts.guards import CANDIDATE, Guards
from noria.serving.rollouts.rollout import (
    ABORTED,
    ABORTING,
    ACTIVE,
    PAUSED,
    PROMOTED,
    PROMOTING,
    RUNNING,
    Rollout,
)
from noria.serving.rollouts.rollout_store import RolloutStore
from noria.serving.rollouts.settings import RolloutSettings
from noria.stores import model_directory
from noria.stores.publication import Publication
from noria.stores.registry import Registry
from noria.stores.versions import PUBLISHED, REGISTERED

__all__ = ["Rollouts", "summary"]


class Rollouts:
    """The rollouts of one model directory.

    Args:
      root: the model directory.
      home: the project's home folder with its registry; None for a directory without one. Its candidates are folders
        `.candidate-<version>` that somebody else has written.
      record: called once with each state of a rollout, for an audit log.
      signing_key: PEM file of the key that signs what is staged or promoted; None for no signatures.
    """

    def __init__(
        self,
        root: Path,
        home: Path | None = None,
        record: Callable[[dict[str, Any]], None] = lambda event: None,
        signing_key: Path | None = None,
    ):
        self.root, self.home, self.signing_key = root, home, signing_key
        self.store = RolloutStore(root)
        self._record = record
        self._told: tuple[Any, ...] | None = None

    def start(self, version: int | None, settings: RolloutSettings, actor: str) -> Rollout:
        """Starts a rollout, or continues one that is paused.

        Args:
          version: the candidate. Default: the newest that waits.
          settings: with a mode.

        Raises:
          NoriaError: there is no candidate or no champion, or another rollout is under way.
        """
        current = self.store.read()
        if current is not None and current.status == PAUSED and version in (None, current.version):
            return self._change(current.id, (PAUSED,), lambda each: dataclasses.replace(each, status=RUNNING))
        self._refuse_second(current)
        number = self._candidate(version)
        champion = self._champion(number)
        now = time.time()
        rollout = Rollout(uuid.uuid4().hex[:12], number, champion, settings, actor, now, stepped=now)

        def begin(current: Rollout | None) -> Rollout:
            self._refuse_second(current)
            return rollout

        self.store.change(begin)
        self.record(rollout)
        return rollout

    def pause(self, actor: str) -> Rollout:
        """Stays at the present step; the guards still watch.

        Raises:
          ServingError: no rollout is running.
        """
        rollout = self._change(
            None, (RUNNING,), lambda each: dataclasses.replace(each, status=PAUSED, by=actor)
        )
        self.record(rollout)
        return rollout

    def abort(self, reason: str, actor: str) -> Rollout:
        """Gives all traffic back to the champion.

        Raises:
          ServingError: no rollout is under way.
        """
        self._change(None, ACTIVE, lambda each: each.end(ABORTING, reason, actor))
        return self.finish()

    def promote(self, reason: str, actor: str) -> Rollout:
        """Makes the candidate the champion.

        Raises:
          ServingError: no rollout is under way.
        """
        self._change(None, ACTIVE, lambda each: each.end(PROMOTING, reason, actor))
        return self.finish()

    def finish(self) -> Rollout:
        """Does what a decision means for the model directory and the registry; may be repeated."""
        with hold(self.store.folder, wait=60, name="finish", command="a rollout"):
            rollout = self._there(self.store.read())
            if rollout.status == ABORTING:
                model_directory.withdraw_candidate(self.root, rollout.version)
                rollout = dataclasses.replace(rollout, status=ABORTED)
            elif rollout.status == PROMOTING:
                self._publish(rollout)
                rollout = dataclasses.replace(rollout, status=PROMOTED)
            else:
                return rollout
            self.record(rollout)
            self.store.change(lambda current: rollout)
            return rollout

    def waiting(self) -> int | None:
        """The newest candidate in the model directory whose rollout has not begun, while no other is under way."""
        current = self.store.read()
        if current is not None and current.status in (*ACTIVE, PROMOTING, ABORTING):
            return None
        numbers = model_directory.candidates(self.root)
        return numbers[-1] if numbers else None

    def fall_back(self, number: int, to: int, reason: str) -> None:
        """Takes a champion that has collapsed out of the model directory; a twin gets a number there.

        Without a registry nothing gives a twin a number: it answers as long as this server lives.

        Raises:
          RegistryError: the registry cannot be written.
        """
        if self.home is not None:
            registry = Registry(self.home)
            champion, twin = registry.champion(), registry.state().twin
            known = [*registry.state().served, *([twin.version] if twin is not None else [])]
            if champion is not None and champion.version == number and to in known:
                Publication(registry, self.root, self.signing_key).rollback(reason, "noria serve", to)
        elif (self.root / str(number)).exists():
            model_directory.withdraw(self.root, [number])
        self._record({"event": "fallback", "version": number, "to": to, "reason": reason})

    def record(self, rollout: Rollout) -> None:
        """Writes a rollout's status into the registry, and tells it; once each."""
        event = _event(rollout)
        if self.home is not None:
            registry = Registry(self.home)
            with registry.writing("the rollout cannot be recorded"):
                known = registry.state().rollouts.get(rollout.id, {})
                if any(known.get(key) != event[key] for key in ("status", "share")):
                    registry.log.append("rollout", **event)
        self.tell(rollout)

    def tell(self, rollout: Rollout) -> None:
        """Calls `record` with a rollout's state, whoever has changed it, if it was not told last."""
        state = rollout.id, rollout.status, rollout.share
        if state != self._told:
            self._told = state
            self._record({"event": "rollout", **_event(rollout)})

    def _candidate(self, version: int | None) -> int:
        present = model_directory.candidates(self.root)
        if self.home is not None:
            registry = Registry(self.home)
            champion = registry.champion()
            newest = [
                each.version
                for each in registry.versions()
                if each.state == REGISTERED and (champion is None or each.version > champion.version)
            ]
            number = version if version is not None else max([*present, *newest], default=None)
            if number is not None:
                publication = Publication(registry, self.root, self.signing_key)
                publication.stage(number)
                for older in present:
                    if older < number:  # a newer version has come while it waited
                        publication.unstage(older)
                return number
            known = "no version waits: none is registered after the champion"
        else:
            number = version if version is not None else max(present, default=None)
            if number is not None and number in present:
                return number
            known = f"candidates: {', '.join(map(str, present)) or 'none'}"
        raise ServingError(
            f"there is no candidate{f' {version}' if version is not None else ''}; {known}",
            where=self.root,
            next_step="with `serving.rollout.mode: canary` in noria.yaml, the next `noria run` makes one"
            if self.home is not None
            else f"write it to {self.root}/{model_directory.CANDIDATE}VERSION, by a rename",
        )

    def _champion(self, number: int) -> int:
        served = model_directory.served(self.root)
        if not served:
            raise ServingError(
                "no version is published, so there is no champion for the comparison",
                where=self.root,
                next_step="publish the first version without a rollout",
            )
        if self.home is None and number <= served[-1]:
            raise ServingError(
                f"candidate {number} must have a larger number than version {served[-1]}, which serves",
                where=self.root,
                next_step="rename its folder",
            )
        return served[-1]

    def _publish(self, rollout: Rollout) -> None:
        number = rollout.version
        if self.home is None:
            model_directory.restore(self.root, number)
            return
        registry = Registry(self.home)
        done = [
            each
            for each in registry.versions()
            if each.state == PUBLISHED
            and (each.version == number or (each.promoted or {}).get("version") == number)
        ]
        if not done:
            Publication(registry, self.root, self.signing_key).promote(
                number, f"rollout: {rollout.reason}", rollout.by
            )
        files.remove_tree(self.root / f"{model_directory.CANDIDATE}{number}")  # its copy has a new number

    def _change(
        self, id: str | None, statuses: tuple[str, ...], act: Callable[[Rollout], Rollout]
    ) -> Rollout:
        def changed(current: Rollout | None) -> Rollout:
            there = self._there(current)
            if there.status not in statuses or id not in (None, there.id):
                raise ServingError(
                    f"the rollout of version {there.version} is {there.status}",
                    where=self.store.path,
                    next_step="`noria rollout status` shows it; `noria rollout start` starts the next one",
                )
            return act(there)

        return self._there(self.store.change(changed))

    def _there(self, rollout: Rollout | None) -> Rollout:
        if rollout is None:
            raise ServingError(
                "there is no rollout", where=self.store.path, next_step="`noria rollout start` starts one"
            )
        return rollout

    def _refuse_second(self, current: Rollout | None) -> None:
        if current is not None and current.status in (*ACTIVE, PROMOTING, ABORTING):
            raise ServingError(
                f"the rollout of version {current.version} is {current.status}",
                where=self.store.path,
                next_step="`noria rollout abort` or `noria rollout promote` ends it",
            )


def _event(rollout: Rollout) -> dict[str, Any]:
    return {
        "rollout": rollout.id,
        "version": rollout.version,
        "champion": rollout.champion,
        "mode": rollout.settings.mode,
        "status": rollout.status,
        "share": rollout.share,
        "reason": rollout.reason,
        "actor": rollout.by or rollout.actor,
    }


def summary(rollout: Rollout) -> dict[str, Any]:
    """A rollout for people and programs: without the guards' inner state."""
    guards = Guards(rollout.settings.guards, rollout.settings.false_alarms, rollout.guards)
    answered = guards.requests[CANDIDATE]
    return {
        "id": rollout.id,
        "version": rollout.version,
        "champion": rollout.champion,
        "mode": rollout.settings.mode,
        "status": rollout.status,
        "step": rollout.step + 1,
        "steps": rollout.settings.steps if rollout.settings.mode == "canary" else [rollout.share],
        "share": rollout.share,
        "requests": guards.requests,
        "step_requests": answered - rollout.stepped_at,
        "guards": guards.summary(),
        "differences": rollout.differences,
        "started": rollout.started,
        "actor": rollout.actor,
        "reason": rollout.reason,
        "by": rollout.by,
    }
