"""The front's end of the model processes: starts them, sends them batches, and notices when they end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from noria.serving import frames
from noria.serving.grpc_status import Code, StatusError
from noria.serving.protos import SignatureDef
from noria.serving.tensors import Tensor

LITE = "model.tflite"
# With the threads of numpy's libraries, the process could not fork. numpy reads these when it is imported.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# What concerns a version comes as an exception; the rest is about libraries of GPUs that are not there.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


class ModelProcess(asyncio.Protocol):
    """One version's process.

    `ended` is done when the process is gone, with the reason.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0
        self.signatures: dict[str, Any] = {}
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._transport: Any = None
        self._reader = frames.Reader()
        self._waiting: dict[int, Callable[[list[Any], list[Tensor]], None]] = {}
        self._next = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for header, tensors in self._reader.feed(data):
                self._received(header, tensors)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            self.kill(f"its process sent what is not a frame: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        reason = f"its process ended{f': {error}' if error else ''}"
        if not self.ready.done():
            self.ready.set_exception(StatusError(Code.INTERNAL, f"{reason} while it loaded"))
            self.ready.exception()  # it may be that nobody waits any more
        if not self.ended.done():
            self.ended.set_result(reason)

    @property
    def memory(self) -> int:
        """Bytes that the process has for itself; 0 where the system does not say, or it has ended."""
        if self.ended.done():
            return 0
        try:
            text = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            return 0
        return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Private_"))

    def run(
        self,
        feeds: Sequence[str],
        fetches: Sequence[str],
        inputs: Sequence[Tensor],
        done: Callable[[list[Any], list[Tensor]], None],
    ) -> None:
        """Sends a batch. `done` gets the header of the answer and its tensors; it is not called if the process ends."""
        number = self._next = self._next + 1
        self._waiting[number] = done
        self._transport.write(frames.encode([number, feeds, fetches], inputs))

    def restore(self, path: str) -> asyncio.Future[None]:
        """Replaces the weights by those of another version with the same graph; `ready` again when that is done."""
        self.ready = asyncio.get_running_loop().create_future()
        self._transport.write(frames.encode(["restore", path]))
        return self.ready

    def profile(self, verb: str) -> asyncio.Future[bytes]:
        """`start` or `stop` of TensorFlow's profiler; `stop` gives a serialized XSpace, empty if it failed."""
        number = self._next = self._next + 1
        found: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def done(header: list[Any], tensors: list[Tensor]) -> None:
            if not found.done():
                found.set_result(tensors[0].data[0] if tensors else b"")

        self._waiting[number] = done
        self._transport.write(frames.encode(["profile", number, verb]))
        return found

    def serve(self) -> None:
        """The version is loaded and warm: its process may use all cores."""
        self._transport.write(frames.encode(["serve"]))

    def close(self) -> None:
        """Ends the process after what has been sent."""
        if self._transport is not None:
            self._transport.close()

    def kill(self, reason: str) -> None:
        """Ends the process at once."""
        if not self.ended.done():
            self.ended.set_result(reason)
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        if self._transport is not None:
            self._transport.abort()

    def _received(self, header: list[Any], tensors: list[Tensor]) -> None:
        if header[0] == "ready":
            data = tensors[0].data
            for name, text in zip(data[::2], data[1::2], strict=True):
                self.signatures[name.decode()] = SignatureDef.FromString(text)
            self.ready.set_result(None)
        elif header[0] == "failed":
            self.ready.set_exception(StatusError(Code(header[1]), header[2]))
        else:
            self._waiting.pop(header[0])(header, tensors)


class Spawner:
    """The process that the model processes are forked from; started again if it has ended."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()

    async def start(self, path: str, tags: Sequence[str], threads: int, cores: Sequence[int]) -> ModelProcess:
        """Forks a process that loads `path`, the folder of a SavedModel or the file of a TF Lite model.

        `ready` of what is returned says when it has.

        Raises:
          StatusError: no process can be started.
        """
        lite = os.path.basename(path) == LITE
        request = {"path": path, "lite": lite, "tags": list(tags), "threads": threads, "cores": list(cores)}
        ours, theirs = socket.socketpair()
        async with self._lock:
            try:
                pid = await self._fork(json.dumps(request).encode(), theirs)
            except OSError as error:
                ours.close()
                raise StatusError(Code.INTERNAL, f"cannot start a model process: {error}") from error
            finally:
                theirs.close()
        ours.setblocking(False)
        _, process = await asyncio.get_running_loop().create_unix_connection(ModelProcess, sock=ours)
        process.pid = pid
        return process

    async def close(self) -> None:
        """Ends it; the model processes end when their own connections do."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            await self._process.wait()

    async def _fork(self, request: bytes, theirs: socket.socket) -> int:
        for attempt in (1, 2):
            try:
                if self._control is None:
                    await self._start()
                assert self._control is not None
                socket.send_fds(self._control, [request], [theirs.fileno()])
                return int(await self._line())
            except (OSError, ValueError):
                self._control = None
                if attempt == 2:
                    raise OSError("the process that imports TensorFlow ended; its message is above") from None
        raise AssertionError

    async def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "noria.serving.model_process",
            stdin=theirs.fileno(),
            env=QUIET | dict(os.environ) | ENVIRONMENT,
            start_new_session=True,
        )
        theirs.close()
        if await self._line() != b"ready":
            raise OSError("unexpected answer")

    async def _line(self) -> bytes:
        assert self._control is not None
        line = b""
        while not line.endswith(b"\n"):
            piece = await asyncio.get_running_loop().sock_recv(self._control, 64)
            if not piece:
                raise OSError("closed")
            line += piece
        return line.strip()
