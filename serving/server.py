"""The embedded server: REST, gRPC and the models in one process without TensorFlow, which ends when it is told to."""

import asyncio
import contextlib
import dataclasses
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from noria.core import files
from noria.core.errors import ConfigError, NoriaError
from noria.serving import privileges, profiler, rpc, tf_serving_config
from noria.serving.access import Access
from noria.serving.audit_log import AuditLog
from noria.serving.grpc_status import Code, StatusError
from noria.serving.models import Models, Options
from noria.serving.prometheus import Metrics
from noria.serving.rest import CERTIFICATE, Rest
from noria.serving.tracing import Tracing

LOG = logging.getLogger("noria.serving")

__all__ = ["HttpProtocol", "Server", "Settings", "Tls", "credentials", "run"]


@dataclasses.dataclass(frozen=True)
class Tls:
    """Files in PEM format.

    Args:
      certificate, key: the server's.
      client_ca: clients must show a certificate that one of these has signed.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def for_grpc(self) -> Any:
        """Credentials of a gRPC server.

        Raises:
          ConfigError: a file cannot be read.
        """
        try:
            ca = self.client_ca.read_bytes() if self.client_ca is not None else None
            return credentials(self.key.read_bytes(), self.certificate.read_bytes(), ca)
        except OSError as error:
            raise files.refusal(
                error, "the TLS files cannot be read", self.certificate, ConfigError
            ) from error

    def for_uvicorn(self) -> dict[str, Any]:
        """uvicorn's options."""
        options: dict[str, Any] = {"ssl_certfile": str(self.certificate), "ssl_keyfile": str(self.key)}
        if self.client_ca is not None:
            options |= {"ssl_ca_certs": str(self.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return options


def credentials(key: bytes, certificate: bytes, client_ca: bytes | None) -> Any:
    """Credentials of a gRPC server; with `client_ca`, clients need a certificate."""
    return grpc.ssl_server_credentials([(key, certificate)], client_ca, client_ca is not None)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the server listens.

    Args:
      models: a ModelServerConfig.
      host: the address to listen at.
      rest_port, grpc_port: None for no such API, 0 for any free port.
      grpc_socket: a Unix socket for gRPC beside its port.
      rest_seconds: after which a REST request is given up.
      metrics_path: where Prometheus reads; None for nowhere.
      cors: whether browsers may call REST from other origins.
      health: whether grpc.health.v1 answers.
      profiler: whether TensorFlow's profiler service answers clients on this machine.
      tls: for REST and gRPC; None for plain connections.
      grpc_credentials: for gRPC alone, instead of `tls`.
      channel: further arguments of the gRPC server.
      models_file: where `models` came from, if it should be read again every `models_file_seconds`.
      drain_seconds: for requests that are under way when the server ends.
      access: the access file: who may ask; None for everybody.
      audit: the audit log's file; None for none.
      user: whom the server becomes when it has opened its port of REST and read its keys; empty to stay.
      traces: a collector of OpenTelemetry, as `http://localhost:4318`; empty for no traces.
      options: how models are served.
    """

    models: Any
    host: str = "127.0.0.1"
    rest_port: int | None = 8501
    grpc_port: int | None = 8500
    grpc_socket: str = ""
    rest_seconds: float = 30.0
    metrics_path: str | None = tf_serving_config.PROMETHEUS_PATH
    cors: bool = False
    health: bool = True
    profiler: bool = False
    tls: Tls | None = None
    grpc_credentials: Any = None
    channel: tuple[tuple[str, Any], ...] = ()
    models_file: Path | None = None
    models_file_seconds: float = 0.0
    drain_seconds: float = 30.0
    access: Path | None = None
    audit: Path | None = None
    user: str = ""
    traces: str = ""
    options: Options = Options()


class Server:
    """A server in the running event loop. `start` returns when the models have loaded and the ports are open."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.metrics = Metrics()
        self.audit = AuditLog(settings.audit) if settings.audit is not None else None
        self.access = Access(settings.access, self.audit) if settings.access is not None else None
        self.models = Models(settings.options, self.metrics, self.audit)
        self.tracing = Tracing(settings.traces) if settings.traces else None
        self.rest_port = self.grpc_port = 0
        self._grpc: Any = None
        self._rest: uvicorn.Server | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Loads the models, then listens.

        Raises:
          NoriaError: a port is taken.
          StatusError: the configuration is not valid.
        """
        settings = self.settings
        listener = self._listen()
        rest = None
        if listener is not None:
            app = Rest(
                self.models,
                self.metrics,
                settings.rest_seconds,
                settings.metrics_path,
                settings.cors,
                access=self.access,
                tracing=self.tracing,
            )
            rest = self._uvicorn(app)
        secret = settings.grpc_credentials or (settings.tls.for_grpc() if settings.tls is not None else None)
        privileges.drop(settings.user)
        if self.audit is not None:
            self.audit.append("start", address=settings.host, user=privileges.user())
        try:
            await self.models.reload(settings.models)
        except StatusError as error:
            if error.code is not Code.UNKNOWN:
                raise
            LOG.error("%s", error.message)  # the folder is followed: a version that loads will serve
        await self._start_grpc(secret)
        if listener is not None:
            assert rest is not None
            self._rest = rest
            self._tasks.append(asyncio.create_task(self._rest.serve(sockets=[listener])))
            self.rest_port = listener.getsockname()[1]
            LOG.info("REST at %s:%d", settings.host, self.rest_port)
        if settings.models_file is not None and settings.models_file_seconds > 0:
            self._tasks.append(asyncio.create_task(self._follow_file(settings.models_file)))

    async def stop(self) -> None:
        """Takes no new requests, answers those under way, and ends the model processes."""
        self.models.closing = True
        seconds = self.settings.drain_seconds
        if self._rest is not None:
            self._rest.should_exit = True
        if self._grpc is not None:
            await self._grpc.stop(seconds)
        for task in self._tasks:
            if self._rest is None or task is not self._tasks[0]:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.models.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
        if self.audit is not None:
            self.audit.note("stop")
            await asyncio.to_thread(self.audit.close)

    def _uvicorn(self, app: Rest) -> uvicorn.Server:
        settings = self.settings
        config = uvicorn.Config(
            app,
            http=_WithCertificate if self.access is not None and settings.tls is not None else HttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=2048,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.drain_seconds),
            **(settings.tls.for_uvicorn() if settings.tls is not None else {}),
        )
        try:
            config.load()
        except OSError as error:
            raise files.refusal(error, "the TLS files cannot be used", settings.tls, ConfigError) from error
        return _Uvicorn(config)

    def _listen(self) -> socket.socket | None:
        settings = self.settings
        if settings.rest_port is None:
            return None
        try:
            family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.host, settings.rest_port))
            return listener
        except OSError as error:
            raise _taken(settings.host, settings.rest_port, error) from error

    async def _start_grpc(self, secret: Any) -> None:
        settings = self.settings
        if settings.grpc_port is None and not settings.grpc_socket:
            return
        options = {
            "grpc.max_send_message_length": -1,
            # The limit of the clients that are known; a message is read before its client is known.
            "grpc.max_receive_message_length": -1 if self.access is None else self.access.largest_body,
            "grpc.so_reuseport": 0,  # two servers must not share a port without knowing
        } | dict(settings.channel)
        server = self._grpc = grpc.aio.server(options=list(options.items()))
        server.add_generic_rpc_handlers(
            rpc.handlers(self.models, self.metrics, settings.health, self.access, self.audit, self.tracing)
        )
        if settings.profiler:
            server.add_generic_rpc_handlers([profiler.handler(self.models)])

        def listen(address: str) -> int:
            if secret is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, secret)

        if settings.grpc_port is not None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            try:
                self.grpc_port = listen(f"{host}:{settings.grpc_port}")
            except RuntimeError as error:
                raise _taken(settings.host, settings.grpc_port, error) from error
        if settings.grpc_socket:
            listen(f"unix:{settings.grpc_socket}")
        await server.start()
        LOG.info("gRPC at %s:%d", settings.host, self.grpc_port)

    async def _follow_file(self, path: Path) -> None:
        """Applies the file when it changes; again if that failed, as a label may wait for its version."""
        applied = self.settings.models
        while True:
            await asyncio.sleep(self.settings.models_file_seconds)
            try:
                wanted = tf_serving_config.read_models(path)
                if wanted != applied:
                    await self.models.reload(wanted)
                    applied = wanted
                    if self.audit is not None:
                        names = [each.name for each in wanted.model_config_list.config]
                        self.audit.note("reload", file=str(path), models=names)
            except (NoriaError, StatusError) as error:
                LOG.error("%s is not applied: %s", path, error)


def run(settings: Settings, started: Callable[[Server], None] = lambda server: None) -> None:
    """Serves until SIGTERM or SIGINT; a second one ends it at once.

    Raises:
      NoriaError: a port is taken, or the configuration is not valid.
    """

    async def main() -> None:
        server, loop, stop = Server(settings), asyncio.get_running_loop(), asyncio.Event()

        def request_stop() -> None:
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)
            stop.set()

        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, request_stop)
        starting = asyncio.create_task(server.start())
        ending = asyncio.create_task(stop.wait())
        await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                starting.result()
                started(server)
            await ending
        except StatusError as error:
            raise ConfigError(
                error.message, next_step="correct the models that the server is told to serve"
            ) from error
        finally:
            starting.cancel()
            ending.cancel()
            LOG.info("the server ends")
            await server.stop()

    uvloop.install()
    asyncio.run(main())


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, which writes head and body of an answer one after the other: here they are sent together."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_JoinedWrites(transport, self.loop))  # type: ignore[arg-type]  # it has what is used


class _JoinedWrites:
    """A transport that sends what is written in one turn of the event loop by one system call, in one packet.

    uvloop's own transport calls the system for each write, and each call wakes the client.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.writelines(parts)


class _WithCertificate(HttpProtocol):
    """Gives the application the common name of the client's certificate."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # TLS has verified it, or there is none.
        subject = (self.transport.get_extra_info("peercert") or {}).get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        self.scope[CERTIFICATE] = names[0] if names else ""  # type: ignore[literal-required]


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to `run`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _taken(host: str, port: int, error: Exception) -> NoriaError:
    return ConfigError(
        f"cannot listen at {host}:{port}: {error}", next_step="choose a free port, or end what uses it"
    )
