"""One version of a model: checked, loaded, warmed, serving, drained; its process is replaced if it ends."""

import asyncio
import contextlib
import enum
import functools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from noria.components import saved_model
from noria.core import files
from noria.core.errors import NoriaError
from noria.serving.batching import Limits, Queue
from noria.serving.grpc_status import Code, StatusError
from noria.serving.prediction_log import PredictionLog
from noria.serving.processes import LITE, ModelProcess, Spawner
from noria.serving.prometheus import Metrics
from noria.serving.signatures import Signature
from noria.stores import model_signature

DRAIN_SECONDS = 30.0
# Restarts in a row of a process that keeps ending, before the version is given up; the n-th waits 2^n / 10 seconds.
MAX_RESTARTS = 8
STEADY_SECONDS = 60.0


class State(enum.IntEnum):
    """As get_model_status.proto."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Version:
    """A version in its process.

    Args:
      model: the model's name.
      number: the version.
      folder: the SavedModel.
      spawner: starts the process.
      limits: bounds of its queue.
      warm: sends the warm-up requests to a version and raises StatusError if one fails.
      tags: the tags of the MetaGraph.
      threads: of TensorFlow within one operation.
      load_seconds: a load that takes longer counts as hanging.
      log: gets what is answered.
      trusted: PEM files of public keys; one of them must have signed the version. Empty for no check.
      prefer_lite: a TF Lite model is loaded also where there is a SavedModel beside it.
    """

    def __init__(
        self,
        model: str,
        number: int,
        folder: Path,
        spawner: Spawner,
        limits: Limits,
        metrics: Metrics,
        warm: Callable[["Version"], Awaitable[None]],
        tags: tuple[str, ...] = ("serve",),
        threads: int = 1,
        load_seconds: float = 300.0,
        log: PredictionLog | None = None,
        trusted: tuple[Path, ...] = (),
        prefer_lite: bool = False,
    ):
        self._trusted = trusted
        self.model, self.number, self.folder = model, number, folder
        self.log = log
        self.state = State.START
        self.error: StatusError | None = None
        self.graph = ""
        self.signatures: dict[str, Signature] = {}
        self.process: ModelProcess | None = None
        self.restarts = 0
        # Called when the process has ended: whether another version answers what it was computing.
        self.covered: Callable[[Version], bool] = lambda version: False
        self._spawner, self._tags, self._threads, self._load_seconds = spawner, tags, threads, load_seconds
        self._warm, self._metrics, self._prefer_lite = warm, metrics, prefer_lite
        self.queue = Queue(
            model, limits, lambda calls, rows: metrics.batch(model, number, calls, rows), self._hung
        )
        self._watcher: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def live(self) -> bool:
        """Whether a request that comes now is answered."""
        return self.state is State.AVAILABLE and self.process is not None and not self.process.ended.done()

    @property
    def mark(self) -> tuple[Any, ...]:
        """Changes when the files of the version do: a version that failed is tried again then."""
        if self._trusted:
            return model_signature.state(self.folder)
        names = ("", "saved_model.pb", "variables/variables.index", LITE)
        return tuple(files.mark(self.folder / name) for name in names)

    async def load(
        self,
        cores: list[int],
        standby: Callable[[str], ModelProcess | None] = lambda graph: None,
        before: Queue | None = None,
    ) -> None:
        """Loads and warms the version; it is AVAILABLE afterwards.

        Args:
          cores: those that the process may use until it serves; all if empty.
          standby: gives a process that has a graph already, by its digest: only the weights are read then.
          before: the queue of the version that serves now; its newest requests are repeated here.

        Raises:
          StatusError: it does not load, or a warm-up request fails. The state is END, with the error.
        """
        self.state, started = State.LOADING, time.monotonic()
        try:
            async with self._verified():
                if self._path() == self.folder:
                    self.graph = await asyncio.to_thread(saved_model.digest, self.folder, variables=False)
                self.process = await self._restore(standby(self.graph)) or await self._start(cores)
                self.signatures = {
                    name: Signature(name, proto) for name, proto in self.process.signatures.items()
                }
                self.queue.connect(self.process)
                await asyncio.wait_for(self._prepare(self.process, before), self._load_seconds)
            self.process.serve()
        except (StatusError, asyncio.TimeoutError) as error:
            self._give_up(
                error
                if isinstance(error, StatusError)
                else StatusError(Code.DEADLINE_EXCEEDED, f"did not load within {self._load_seconds:.0f} s")
            )
            assert self.error is not None
            raise self.error from error
        except asyncio.CancelledError:
            self._give_up(StatusError(Code.CANCELLED, "the load was stopped"))
            raise
        self.state = State.AVAILABLE
        self._metrics.loaded(self.model, self.number, time.monotonic() - started)
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self.model} {self.number}")

    async def unload(self) -> ModelProcess | None:
        """Lets the process finish what it has. New requests must go elsewhere already.

        Returns:
          The process, if it can serve another version with the same graph; who does not want it must close it.
        """
        if self.state is State.END:
            return None
        self.state = State.UNLOADING
        await self.queue.drain(DRAIN_SECONDS)
        idle = self.process if self.process is not None and not len(self.queue) else None
        if idle is not None:
            self.process = None
        self.stop()
        return idle

    def stop(self) -> None:
        """Ends the process now."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self.process is not None:
            self.process.close()
        self.queue.fail(
            StatusError(Code.UNAVAILABLE, f"version {self.number} of model {self.model} is unloaded")
        )
        self.state = State.END

    def _path(self) -> Path:
        """What its process loads: the folder of a SavedModel, or the file of a TF Lite model.

        Raises:
          StatusError: there is neither.
        """
        has_graph = any((self.folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt"))
        if (self.folder / LITE).is_file() and (self._prefer_lite or not has_graph):
            return self.folder / LITE
        if not has_graph:
            raise StatusError(
                Code.NOT_FOUND,
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {self.folder}",
            )
        return self.folder

    async def _restore(self, process: ModelProcess | None) -> ModelProcess | None:
        """A process that has the graph, with the weights of this version; None if that does not work."""
        if process is None:
            return None
        try:
            await asyncio.wait_for(asyncio.shield(process.restore(str(self.folder))), self._load_seconds)
            return process
        except (StatusError, asyncio.TimeoutError):  # the load from the start says what is wrong
            process.kill("the weights could not be replaced")
            return None

    async def _prepare(self, process: ModelProcess, before: Queue | None) -> None:
        """Sends the warm-up requests, and repeats what the version before has answered.

        TensorFlow prepares a graph at its first call, which takes as long as many requests. An error of a repeated
        request says nothing here, as two versions may have other inputs.

        Raises:
          StatusError: a warm-up request fails, or the process ends.
        """

        def failed(reason: asyncio.Future[str]) -> None:
            self.queue.fail(StatusError(Code.INTERNAL, f"{reason.result()} while it was warmed"))

        process.ended.add_done_callback(failed)
        try:
            await self._warm(self)
            for (feeds, fetches), inputs in list(before.recent.items()) if before is not None else []:
                with contextlib.suppress(StatusError):
                    await self.queue.run(feeds, fetches, inputs, mergeable=False)
        finally:
            process.ended.remove_done_callback(failed)
        if process.ended.done():
            raise StatusError(Code.INTERNAL, f"{process.ended.result()} while it was warmed")

    async def _start(self, cores: list[int]) -> ModelProcess:
        process = await self._spawner.start(str(self._path()), self._tags, self._threads, cores)
        try:
            await asyncio.wait_for(asyncio.shield(process.ready), self._load_seconds)
        except BaseException:
            process.kill("the load was stopped")
            raise
        return process

    async def _start_verified(self) -> ModelProcess:
        process = None
        try:
            async with self._verified():
                process = await self._start([])
        except StatusError as error:
            if process is not None:
                process.kill(error.message)
            raise
        return process

    async def _watch(self) -> None:
        """Replaces the process whenever it ends."""
        since = time.monotonic()
        while self.process is not None:
            await asyncio.wait([self.process.ended])  # a future that is awaited would end with this task
            self.restarts += 1
            self._metrics.restarted(self.model, self.number)
            if self.covered(self):
                self.queue.fail(StatusError(Code.UNAVAILABLE, f"the process of model {self.model} ended"))
            self.queue.disconnect()
            self._failures = 1 if time.monotonic() - since > STEADY_SECONDS else self._failures + 1
            if self._failures > 1:
                await asyncio.sleep(2**self._failures / 10)
            try:
                process = await self._start_verified()
            except (StatusError, asyncio.TimeoutError) as error:
                if self._failures >= MAX_RESTARTS:
                    self._watcher = None
                    self._give_up(StatusError(Code.INTERNAL, f"its process cannot be started again: {error}"))
                    return
                continue
            since = time.monotonic()
            self.process = process
            self.process.serve()
            self.queue.connect(self.process)

    @contextlib.asynccontextmanager
    async def _verified(self) -> AsyncIterator[None]:
        """What the block loads has a signature, and has not changed since that was checked.

        Raises:
          StatusError: it has none that is valid, or a file was written meanwhile.
        """
        if not self._trusted:
            yield
            return
        try:
            before = await asyncio.to_thread(model_signature.state, self.folder)
            keys = [model_signature.PublicKey.read(each) for each in self._trusted]
            checking = asyncio.to_thread(model_signature.verify, self.folder, keys)
            await asyncio.wait_for(checking, self._load_seconds)
        except (NoriaError, OSError) as error:
            message = error.what if isinstance(error, NoriaError) else str(error)
            raise StatusError(Code.FAILED_PRECONDITION, message) from error
        yield
        if before != await asyncio.to_thread(model_signature.state, self.folder):
            raise StatusError(Code.FAILED_PRECONDITION, "its files were changed while it was loaded")

    def _hung(self) -> None:
        if self.process is not None:
            self.process.kill("it did not answer in time")

    def _give_up(self, error: StatusError) -> None:
        self.error, self.state = error, State.END
        if self.process is not None:
            self.process.kill(error.message)
        self.queue.fail(error)
        self._metrics.refused(self.model)


@functools.cache  # the first answer: later ones would be about the part that is left while a version loads
def loading_cores() -> tuple[list[int], list[int]]:
    """The cores that load and those that serve meanwhile; empty where there is one, or the system cannot say."""
    if not hasattr(os, "sched_getaffinity"):
        return [], []
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    return (cores[len(cores) - half :], cores[: len(cores) - half]) if half else ([], [])
