"""The judge of one model's rollouts: reads the file, divides the traffic, asks the guards, and does what they decide.

What it decides holds in memory at once; then the file says so, and then model directory and registry.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from typing import Protocol

from noria.core import files
from noria.core.errors import NoriaError
from noria.serving.prometheus import Metrics
from noria.serving.rollouts.awaiting_labels import Answers
from noria.serving.rollouts.guards import Guards
from noria.serving.rollouts.operations import Rollouts
from noria.serving.rollouts.rollout import ABORTED, ABORTING, ACTIVE, PROMOTED, PROMOTING, Rollout, decide
from noria.serving.rollouts.settings import RolloutSettings
from noria.serving.rollouts.traffic import Traffic
from noria.serving.version import State, Version

LOG = logging.getLogger("noria.serving")

BLOCK_SECONDS = 0.1
SAVE_SECONDS = 1.0  # what a killed server forgets of the guards' evidence, at most
RETRY_SECONDS = 5.0
MAX_RESTARTS = 3  # of a candidate's process


class Judged(Protocol):
    """A model whose versions can be a candidate."""

    name: str
    versions: dict[int, Version]
    candidate: int | None

    def latest(self) -> Version | None: ...
    def dismiss(self, number: int) -> None: ...
    async def follow(self) -> None: ...


class Judge:
    """Follows the rollout of one model directory.

    Args:
      model: its versions.
      traffic: who answers what.
      rollouts: the file, the directory, the registry.
      settings: of rollouts that the server starts by itself, where `mode` is set.
    """

    def __init__(
        self, model: Judged, traffic: Traffic, rollouts: Rollouts, settings: RolloutSettings, metrics: Metrics
    ):
        self.model, self.traffic, self.rollouts, self.settings = model, traffic, rollouts, settings
        self.metrics = metrics
        self.rollout: Rollout | None = None
        self._guards: Guards | None = None
        self._mark: files.Mark | None = None
        self._right: contextlib.ExitStack | None = None
        self._saved = self._looked = self._kept = 0.0
        self._resting = 0.0  # until when a step that has failed is not tried again
        self._keeping = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Judges from now on, and knows what the server before knew."""
        await self.keep()
        self._task = asyncio.create_task(self._run(), name=f"judge {self.model.name}")

    async def stop(self) -> None:
        """Saves the evidence, and leaves the rollout to the next server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.keep()
        if self._right is not None and self.rollout is not None and self.rollout.status in ACTIVE:
            with contextlib.suppress(NoriaError):
                await self._save(self.rollout, self._with_evidence(self.rollout))
        if self._right is not None:
            self._right.close()

    async def look(self) -> None:
        """One look: at the file, at the candidate, at the guards."""
        now = time.monotonic()
        if now - self._kept > SAVE_SECONDS:
            self._kept = now
            await self.keep()
        await self._read()
        rollout = self.rollout
        if now < self._resting:
            return
        if rollout is not None and rollout.status in ACTIVE:
            await self._judge(rollout)
            return
        if rollout is not None and rollout.status in (PROMOTING, ABORTING):
            await asyncio.to_thread(self.rollouts.finish)
            await self._read()
        elif self.settings.mode is not None and now - self._looked > SAVE_SECONDS:
            self._looked = now
            waiting = self.rollouts.waiting()
            if waiting is not None:
                await asyncio.to_thread(self.rollouts.start, waiting, self.settings, "noria serve")

    async def keep(self) -> None:
        """Writes which answers wait for a label, and what the labels have said, if this server is the one that does."""
        async with self._keeping:
            await self._claim()
            lines = self.traffic.answers.changes()
            if self._right is None or not lines:  # another server writes its own
                return
            champion, losses = self.traffic.losses
            copy = dataclasses.replace(losses)
            try:
                await asyncio.to_thread(self.rollouts.store.keep, lines, champion, copy)
            except NoriaError as error:
                LOG.error("labels of model %s: %s", self.model.name, error)

    async def _claim(self) -> None:
        """Takes the right to judge and to write, where nobody has it; then this server knows what the files say."""
        store, traffic = self.rollouts.store, self.traffic
        used = store.folder.is_dir() or traffic.answers.changed
        if self._right is not None or not used:
            return
        self._right = store.judge()
        if self._right is None:
            return
        older = Answers()
        bad = await asyncio.to_thread(lambda: older.load(store.read_answers()))
        if bad:
            LOG.warning(
                "model %s: %d answers in %s cannot be read and are ignored",
                self.model.name,
                bad,
                store.folder,
            )
        traffic.resume(older, store.read_losses())

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except NoriaError as error:
                self._resting = time.monotonic() + RETRY_SECONDS
                LOG.error("rollout of model %s: %s", self.model.name, error)
            except Exception:  # a bug must not end the judge
                self._resting = time.monotonic() + RETRY_SECONDS
                LOG.exception("rollout of model %s", self.model.name)
            await asyncio.sleep(BLOCK_SECONDS)

    async def _read(self) -> None:
        mark = self.rollouts.store.mark()
        if mark == self._mark:
            return
        rollout, before = self.rollouts.store.read(), self.rollout
        self._mark = mark
        if rollout is None:
            if before is not None:
                await self._end(before, ABORTED)
            self.rollout = None
            return
        if before is None or before.id != rollout.id:
            if before is not None and before.status in ACTIVE:
                await self._end(before, ABORTED)
            self._guards = Guards(rollout.settings.guards, rollout.settings.false_alarms, rollout.guards)
        self.rollout = rollout
        changed = before is None or (before.id, before.status, before.step) != (
            rollout.id,
            rollout.status,
            rollout.step,
        )
        if changed and (before is not None or rollout.status not in (PROMOTED, ABORTED)):
            self._say(rollout)
            if rollout.status not in (PROMOTING, ABORTING):  # `finish` tells how that ends
                self.rollouts.tell(rollout)  # what a command has changed too
        if rollout.status in (*ACTIVE, PROMOTING):
            self.model.candidate = rollout.version
            self._divide()
        elif changed and before is not None:  # the end of a rollout that this server has served
            await self._end(rollout, rollout.status)

    def _divide(self) -> None:
        rollout = self.rollout
        version = self.model.versions.get(rollout.version) if rollout is not None else None
        loaded = version is not None and version.state is State.AVAILABLE
        self.traffic.begin(rollout, version if loaded else None, self._guards)

    async def _end(self, rollout: Rollout, status: str) -> None:
        """The candidate becomes the champion, or gets nothing any more."""
        self.traffic.begin(None, None, None)
        folder = self.rollouts.root / str(rollout.version)
        if status == PROMOTED:
            if folder.is_dir():
                self.model.candidate = None
            await self.model.follow()  # its copy may have a new number
        if self.model.candidate is not None:
            self.model.dismiss(rollout.version)

    async def _judge(self, rollout: Rollout) -> None:
        champion, version = self.model.latest(), self.model.versions.get(rollout.version)
        if champion is None:
            return
        if version is None or version.state in (State.START, State.LOADING):
            await self.model.follow()
            self._divide()
            return
        if self.traffic.candidate is not version:
            self._divide()
        if self._right is None or self._guards is None:
            return
        self.traffic.close()
        new = decide(rollout, self._guards, time.time())
        if champion.number != rollout.champion:
            new = rollout.end(ABORTING, f"version {champion.number} serves now", "noria serve")
        elif version.state is not State.AVAILABLE:
            new = rollout.end(ABORTING, f"it does not load: {version.error}", "noria serve")
        elif version.restarts >= MAX_RESTARTS:
            new = rollout.end(ABORTING, f"its process ended {version.restarts} times", "noria serve")
        if new.status == ABORTING:  # traffic first
            self.traffic.begin(None, None, None)
            self.model.dismiss(rollout.version)
            self.metrics.rollbacks.add(
                self.model.name, new.reason.split(":")[0] if new.by == "guard" else "load"
            )
        if new is not rollout or time.monotonic() - self._saved > SAVE_SECONDS:
            await self._save(rollout, self._with_evidence(new))
            await self._read()
            if new.step != rollout.step:
                await asyncio.to_thread(self.rollouts.record, new)

    def _with_evidence(self, rollout: Rollout) -> Rollout:
        assert self._guards is not None
        differences = self.traffic.differences
        return dataclasses.replace(
            rollout,
            guards=self._guards.to_json(),
            differences=differences.to_json() if rollout.settings.mode == "shadow" else None,
        )

    async def _save(self, known: Rollout, new: Rollout) -> None:
        """Writes the file, unless somebody has changed it since it was `known`, and the answers beside it."""
        await self.keep()

        def put(current: Rollout | None) -> Rollout | None:
            same = current is not None and (current.id, current.status) == (known.id, known.status)
            return new if same else current

        await asyncio.to_thread(self.rollouts.store.change, put)
        self._saved = time.monotonic()

    def _say(self, rollout: Rollout) -> None:
        LOG.log(
            logging.WARNING if rollout.status in (ABORTING, ABORTED) else logging.INFO,
            "rollout of version %d of model %s (%s, %g %% of the keys): %s%s",
            rollout.version,
            self.model.name,
            rollout.settings.mode,
            rollout.share * 100,
            rollout.status,
            f": {rollout.reason}" if rollout.reason else "",
        )
