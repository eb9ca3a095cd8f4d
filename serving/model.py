"""One model: the versions in its folder that it should serve, and how it gets from one to the next.

A new version is loaded while the old one serves, and gets the traffic when it is warm; then the old one drains. A
version that fails is refused with its reason, and tried again when its files change; the old one stays.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.serving.grpc_status import Code, StatusError
from noria.serving.processes import ModelProcess
from noria.serving.rollouts.traffic import Traffic
from noria.serving.version import State, Version, loading_cores
from noria.stores import model_directory

# Versions that have ended and are still listed in the status.
MAX_ENDED = 20

LOG = logging.getLogger("noria.serving")


class Model:
    """The versions of one model.

    Args:
      config: its ModelConfig.
      make: makes a version of a number and a folder.
      poll_seconds: how often the folder is read, give or take a tenth; 0 reads it once.
      max_resident: versions in memory; more are refused.
      max_memory: bytes that their processes may have for themselves, 0 for no bound. A version counts as the largest of
        those in memory before it is loaded.
      standby: whether the process of the version before is kept, with its graph, for the weights of the next one.
      note: gets what happens to a version, for the audit log.
      keep_fallback: whether the cold twin, or the version before the newest where there is none, stays loaded, and
        answers where the newest fails.

    Attributes:
      candidate: the version that a rollout tries; it answers only what `traffic` gives it.
      twin: the cold twin in the folder, where the fallback is kept.
      traffic: who answers what.
    """

    def __init__(
        self,
        config: Any,
        make: Callable[[int, Path], Version],
        poll_seconds: float,
        max_resident: int,
        max_memory: int,
        standby: bool,
        keep_fallback: bool,
        traffic: Callable[["Model"], Traffic],
        note: Callable[..., None] = lambda event, version, **fields: None,
    ):
        self._note = note
        self.name = config.name
        self.candidate: int | None = None
        self.twin: int | None = None
        self._in_charge: tuple[int, int] | None = None  # the twin, and the champion that it has replaced
        self.keep_fallback = keep_fallback
        self.traffic = traffic(self)
        self._distrusted: set[int] = set()
        self.config = config
        self.versions: dict[int, Version] = {}
        self._make, self._poll_seconds = make, poll_seconds
        self._max_resident, self._max_memory = max_resident, max_memory
        self._keep_standby = standby
        self._standby: tuple[str, ModelProcess] | None = None
        self._refused: dict[int, tuple[Any, ...]] = {}
        self._turn = asyncio.Lock()
        self._poller: asyncio.Task[None] | None = None
        self._unloading: set[asyncio.Task[None]] = set()

    def latest(self) -> Version | None:
        """The version that answers requests that name none: the champion."""
        numbers = self._trusted()
        if self._in_charge is not None:
            twin, replaced = self._in_charge
            newer = any(number > replaced for number in numbers)
            if self.specific(twin) and twin not in self._distrusted and not newer:
                return self.versions[twin]
        return self.versions[max(numbers)] if numbers else None

    def fallback(self) -> Version | None:
        """The version that answers where the champion fails, if there is one."""
        if not self.keep_fallback:
            return None
        champion = self.latest()
        arms = [self.versions[number] for number in sorted(self._trusted(), reverse=True)]
        if self.twin is not None and self.twin not in self._distrusted and self.specific(self.twin):
            arms.insert(0, self.versions[self.twin])
        return next((each for each in arms if each.live and each is not champion), None)

    def distrust(self, number: int) -> None:
        """The fallback is the champion from now on."""
        fallback = self.fallback()
        if fallback is not None and fallback.number == self.twin:
            self._in_charge = fallback.number, number
        self._distrusted.add(number)

    def dismiss(self, number: int) -> None:
        """Ends the candidate at once: who waits for its answer is told."""
        self.candidate = None
        version = self.versions.get(number)
        if version is not None and version.state is not State.END:
            if version.process is not None:
                version.process.kill("it is rolled back")
            version.stop()

    def _trusted(self) -> list[int]:
        return [
            number
            for number, each in self.versions.items()
            if each.state is State.AVAILABLE
            and number not in (self.candidate, self.twin, *(self._in_charge or ())[:1])
            and number not in self._distrusted
        ]

    def specific(self, number: int) -> Version | None:
        version = self.versions.get(number)
        return version if version is not None and version.state is State.AVAILABLE else None

    async def start(self) -> None:
        """Loads the versions that are there, and follows the folder from now on."""
        await self.follow()
        if self._poll_seconds > 0:
            self._poller = asyncio.create_task(self._poll(), name=f"poll {self.name}")

    async def stop(self, drain: bool) -> None:
        """Unloads everything."""
        if self._poller is not None:
            self._poller.cancel()
        async with self._turn:
            if drain:
                idle = await asyncio.gather(*(each.unload() for each in self.versions.values()))
                for process in filter(None, idle):
                    process.close()
            for version in self.versions.values():
                version.stop()
            self._replace_standby(None)

    async def follow(self) -> None:
        """Brings the versions in memory in line with the folder; returns when that is done."""
        async with self._turn:
            found = self._found()
            if found is None:
                return
            self.twin = self._twin(found)
            wanted = self._wanted(found)
            # What was withdrawn, as in a rollback, does not answer until another version has loaded.
            self._unload_others(self._kept(wanted, found) | found.keys())
            for number in self._in_turn(wanted, found):
                if not self._present(number, found[number]):
                    await self._load(number, found[number])
                self.versions[number].folder = found[number]  # that of a candidate is renamed
            self._unload_others(self._kept(wanted, found))

    def _kept(self, wanted: list[int], found: dict[int, Path]) -> set[int]:
        """The versions that stay in memory.

        One that is refused takes no place: the newest that serves stays until a wanted one does.
        """
        served = [number for number in wanted if self.specific(number) and number != self.candidate]
        keep = set(wanted) if served or not wanted else {*wanted, *self._newest_served()}
        if self.keep_fallback:
            keep.update(sorted(set(self._trusted()) & found.keys())[-1 - self._one_before :])
        keep.update(number for number in (self.candidate, self.twin) if number is not None)
        if self._in_charge is not None:  # until a newer version has loaded
            keep.update(self._newest_served())
        return keep

    @property
    def _one_before(self) -> bool:
        """Whether the version before the newest is the fallback: there is no twin, or it has not loaded."""
        return self.keep_fallback and (self.twin is None or self.specific(self.twin) is None)

    def _unload_others(self, keep: set[int]) -> None:
        for number, version in self.versions.items():
            if number not in keep and version.state is State.AVAILABLE:
                self._unload(version)

    def _found(self) -> dict[int, Path] | None:
        """Folders whose name is a number; None where the folder cannot be read now."""
        try:
            with os.scandir(self.config.base_path) as entries:
                return {
                    int(each.name): Path(each.path)
                    for each in entries
                    if each.name.isascii()
                    and each.name.isdigit()
                    and each.is_dir()
                    and int(each.name) < 1 << 63
                }
        except FileNotFoundError:
            return {}
        except OSError as error:
            LOG.warning("cannot read %s: %s", self.config.base_path, error)
            return None

    def _twin(self, found: dict[int, Path]) -> int | None:
        """The twin in the folder, if it is the fallback."""
        numbers = model_directory.twins(Path(self.config.base_path)) if self.keep_fallback else []
        return next((number for number in reversed(numbers) if number not in found), None)

    def _in_turn(self, wanted: list[int], found: dict[int, Path]) -> list[int]:
        """In which order to load: a fallback after the champion, a candidate last."""
        order = sorted(wanted, reverse=self.keep_fallback)
        if self.twin is not None:
            found[self.twin] = Path(self.config.base_path) / f"{model_directory.TWIN}{self.twin}"
            order.append(self.twin)
        if self.candidate is not None:
            folder = Path(self.config.base_path) / f"{model_directory.CANDIDATE}{self.candidate}"
            if self.candidate not in found and folder.is_dir():
                found[self.candidate] = folder
            order = [number for number in order if number != self.candidate]
            order += [self.candidate] if self.candidate in found else []
        return order

    def _wanted(self, found: dict[int, Path]) -> list[int]:
        policy = self.config.model_version_policy
        choice = policy.WhichOneof("policy_choice")
        numbers = sorted(found)
        if choice == "specific":
            return [number for number in numbers if number in policy.specific.versions]
        if choice == "all":
            return numbers
        count = policy.latest.num_versions or 1
        return numbers[-count - self._one_before :]

    def _newest_served(self) -> list[int]:
        latest = self.latest()
        return [latest.number] if latest else []

    def _present(self, number: int, folder: Path) -> bool:
        version = self.versions.get(number)
        if version is None or version.state in (State.UNLOADING, State.END) and version.error is None:
            return False
        # The same folder with other files is another attempt, but only for one that failed.
        return version.error is None or self._refused.get(number) == version.mark

    async def _load(self, number: int, folder: Path) -> None:
        version = self._make(number, folder)
        version.covered = self.traffic.ended
        self._distrusted.discard(number)
        resident = sum(
            each.state in (State.AVAILABLE, State.LOADING, State.UNLOADING) for each in self.versions.values()
        )
        self.versions[number] = version
        mark = version.mark
        if resident >= self._max_resident:
            full = f"{resident} versions are in memory, the most that are allowed"
        else:
            full = await asyncio.to_thread(self._full)
        if full:
            version.error, version.state = StatusError(Code.RESOURCE_EXHAUSTED, full), State.END
            self._refused[number] = mark
            return
        LOG.info("loading version %d of model %s from %s", number, self.name, folder)
        spare, busy = loading_cores()
        serving = [each for each in self.versions.values() if each.live]

        def standby(graph: str) -> ModelProcess | None:
            process = self._take_standby(graph)
            if process is None:  # to read weights alone takes no millisecond; a graph takes many
                _restrict(serving, busy)
            return process

        try:
            latest = self.latest()
            await version.load(
                spare if serving else [], standby, latest.queue if latest is not None else None
            )
            LOG.info("version %d of model %s serves", number, self.name)
            self._note("serves", number)
        except StatusError as error:
            self._refused[number] = mark
            LOG.error("version %d of model %s is refused: %s", number, self.name, error)
            self._note("refused_version", number, reason=error.message)
        finally:
            _restrict(serving, [*spare, *busy])

    def _full(self) -> str:
        """Why no further version fits into memory; empty if one does."""
        if not self._max_memory:
            return ""
        processes = [each.process for each in self.versions.values() if each.process is not None]
        sizes = [each.memory for each in processes]
        needed = sum(sizes) + max(sizes, default=0)
        if needed <= self._max_memory:
            return ""
        return (
            f"{len(sizes)} versions have {sum(sizes) >> 20} MiB, and one more would exceed the "
            f"{self._max_memory >> 20} MiB that are allowed"
        )

    def _unload(self, version: Version) -> None:
        LOG.info("unloading version %d of model %s", version.number, self.name)
        self._note("unloads", version.number)
        version.state = State.UNLOADING
        task = asyncio.create_task(self._retire(version))
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _retire(self, version: Version) -> None:
        process, latest = await version.unload(), self.latest()
        if (
            process is not None
            and latest is not None
            and version.graph
            and latest.graph == version.graph
            and self._keep_standby
        ):
            self._replace_standby((version.graph, process))
        elif process is not None:
            process.close()
        if self._standby is not None and latest is not None and self._standby[0] != latest.graph:
            self._replace_standby(None)
        ended = sorted(
            number for number, each in self.versions.items() if each.state is State.END and each.error is None
        )
        for number in ended[:-MAX_ENDED]:
            del self.versions[number]

    def _take_standby(self, graph: str) -> ModelProcess | None:
        """The process that has this graph, if there is one; it belongs to the caller then."""
        if self._standby is None or self._standby[0] != graph or self._standby[1].ended.done():
            return None
        process, self._standby = self._standby[1], None
        return process

    def _replace_standby(self, standby: tuple[str, ModelProcess] | None) -> None:
        if self._standby is not None:
            self._standby[1].close()
        self._standby = standby

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds * random.uniform(0.9, 1.1))
            try:
                await self.follow()
            except Exception:  # a bug must not end the polling
                LOG.exception("model %s cannot follow its folder", self.name)


def _restrict(versions: list[Version], cores: list[int]) -> None:
    """Keeps the processes that serve, and this one, on some cores: a load on the others then delays them less."""
    if not versions or not cores:
        return
    for pid in [0, *(each.process.pid for each in versions if each.process is not None)]:
        try:
            os.sched_setaffinity(pid, cores)
        except OSError:  # it has ended
            continue
