"""A stream of NATS JetStream, read in batches that Noria asks for (`pip install noria[nats]`).

A position is a message's sequence number in the stream. The consumer is ephemeral and acknowledges nothing: where
reading continues is what Noria has stored with its segments. The server numbers the messages that it delivers, so a
message that is lost with a connection is noticed, and read again.
"""

import asyncio
import contextlib
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from noria.core.errors import ConfigError, DataError
from noria.core.settings import listed
from noria.ingestion.kafka_settings import value_of
from noria.ingestion.source_secrets import hidden
from noria.ingestion.streams.base import Bounds, Messages, Stream

__all__ = ["Nats"]

WAIT = 10.0  # seconds for a connection and for answers of the server
# The server deletes a consumer that asks for nothing for so many seconds: longer than a pause between two reads.
IDLE_SECONDS = 300.0
BATCH_BYTES = 16 << 20  # of one request, by the average size of the stream's messages
# Empty reads in a row, although the server has delivered more, after which those messages are read again.
MISSES = 20
RESTARTS = 5  # at one position; then a message there cannot be read
_KEY = "stream.source.nats"
_TEXTS = ("stream", "start", "domain", "user", "password", "token")
# What a file that signs a login must hold.
_SIGNING = {"credentials": "a .creds file with a JWT and a seed", "nkey": "a file with the seed of a user"}
_FILES = (*_SIGNING, "ca_file", "cert_file", "key_file")


class Nats(Stream):
    """Reads a stream. `given` has

    - `servers`: a URL such as `nats://host:4222`, or a list of the servers of a cluster;
    - `stream`: its name;
    - `subjects`: the subjects to read, with wildcards; default: all of the stream;
    - `start`: `earliest` (the default) or `latest`, where nothing is stored yet;
    - `domain`: the JetStream domain;
    - `user` and `password`, or `token`, or `credentials` (a `.creds` file), or `nkey` (the file of a seed);
    - `ca_file`, `cert_file`, `key_file`: for TLS.

    A text may be `{env: NAME}` or `{file: PATH}`; a password and a token must be one of these.
    """

    def __init__(self, given: Any, folder: Path, name: str = "noria"):
        super().__init__(given, folder, name)
        values = dict(given) if isinstance(given, dict) else {}
        unknown = sorted(set(values) - {"servers", "subjects", *_TEXTS, *_FILES})
        if unknown or not {"servers", "stream"} <= set(values):
            raise _wrong("must have `servers` and `stream`" + (f", and no {unknown[0]!r}" if unknown else ""))
        self.servers = [str(value_of("servers", each, folder, _KEY)) for each in listed(values["servers"])]
        if any("@" in urlsplit(server).netloc for server in self.servers):
            raise _wrong("`servers` must not hold a user or a password: use the keys `user` and `password`")
        self.subjects = sorted(map(str, listed(values.get("subjects", []))))
        texts = {key: str(value_of(key, values[key], folder, _KEY)) for key in _TEXTS if key in values}
        self.stream, self._domain = texts.pop("stream"), texts.pop("domain", None)
        self._start = texts.pop("start", "earliest")
        if self._start not in ("earliest", "latest"):
            raise _wrong(f"`start` must be earliest or latest, got {self._start!r}")
        self._login = texts
        self._files = {key: str(folder / Path(values[key]).expanduser()) for key in _FILES if key in values}
        self._session: _Session | None = None
        self._consumer: Any = None  # a pull subscription
        self._consumer_name = ""
        self._restart = True  # the consumer is not at the position
        self._received = 0  # by the consumer
        self._misses = self._restarts = 0
        self._at: int | None = None
        self._position_unknown = False  # nobody knows the position: no message has come, and none is stored
        self._ended = self._paused = False
        self.problem: str | None = None

    @property
    def name(self) -> str:
        return f"nats {self.stream}"

    def identity(self) -> dict[str, Any]:
        info = self._ask(self._info)
        retention = getattr(info.config.retention, "value", info.config.retention)
        if retention not in (None, "limits"):
            raise DataError(
                f"the stream's retention is {retention}: a message that was read is deleted, so no position can be "
                "read again",
                where=self.name,
                next_step="read a stream with retention `limits`, such as one that has this stream as its source",
            )
        return {
            "source": "nats",
            "stream": self.stream,
            "created": info.created.isoformat() if info.created is not None else None,
            "subjects": self.subjects or [">"],
        }

    def bounds(self) -> dict[int, Bounds]:
        state = self._ask(self._info).state
        return {0: Bounds(min(state.first_seq, state.last_seq + 1), state.last_seq + 1)}

    def open(
        self,
        positions: Callable[[], Mapping[int, int]],
        lost: Callable[[Collection[int]], None] = lambda partitions: None,
    ) -> None:
        self._at = positions().get(0)
        with self._explained():
            self._session = _Session(self._connected(attempts=-1))

    def read(self, limit: int, timeout: float) -> list[Messages]:
        if self._paused:
            time.sleep(timeout)
            return []
        assert self._session is not None, "the stream is open"
        if not self._session.client.is_connected:  # the library tries it
            self._ended, self.problem = False, self.problem or "the connection is lost"
            time.sleep(timeout)
            return []
        found = self._ask(lambda jetstream: self._read(jetstream, limit, timeout))
        return [] if found is None else [found]

    def seek(self, partition: int, position: int) -> None:
        self._at, self._ended, self._restart = position, False, True

    def assigned(self) -> set[int]:
        return {0}

    def caught_up(self) -> bool:
        return self._ended

    def pause(self, paused: bool) -> None:
        self._paused = paused

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close(self._end_consumer(self._jetstream(session.client)))

    async def _read(self, jetstream: Any, limit: int, timeout: float) -> Messages | None:
        nats = _library()
        self._ended = False
        if self._restart:
            try:
                await self._begin(jetstream)
            except nats.js.errors.NotFoundError:
                raise
            except (nats.errors.Error, asyncio.TimeoutError) as error:
                if not self._consumer_name:  # it has never worked: the settings may be wrong
                    raise
                await self._again(error, timeout)
                return None
        try:
            found = await self._consumer.fetch(max(1, min(limit, BATCH_BYTES // self._size)), timeout)
            if not found:
                return await self._at_end(jetstream)
        except asyncio.TimeoutError:
            return await self._at_end(jetstream)
        except nats.errors.Error as error:
            await self._again(error, timeout)
            return None
        messages = self._messages(found)
        if messages is not None:
            try:
                await self._check_gap(jetstream, messages)
            except (nats.errors.Error, asyncio.TimeoutError) as error:
                await self._again(error, timeout)
                return None
            self._at, self.problem = messages.next, None
            self._misses = self._restarts = 0
            self._position_unknown = False
        return messages

    async def _again(self, error: Exception, timeout: float) -> None:
        """Lets the next read begin with another consumer: the server has restarted or has deleted this one, or the
        servers elect a leader."""
        self.problem, self._restart = _said(error), True
        await asyncio.sleep(timeout)

    async def _begin(self, jetstream: Any) -> None:
        """Makes a consumer that begins at the position."""
        api = _library().js.api
        state = (await self._info(jetstream)).state
        if self._at is None:
            self._position_unknown = self._start == "latest"
            self._at = state.last_seq + 1 if self._position_unknown else max(state.first_seq, 1)
        elif self._at < state.first_seq and self._at <= state.last_seq:
            raise self._passed(state.first_seq)
        await self._end_consumer(jetstream)
        if self._restarts > RESTARTS:
            raise DataError(
                f"the message at position {self._at:,}, or one after it, cannot be read: it does not arrive",
                where=self.name,
                next_step="look at it with `nats stream get`, and delete it if it has the header `Status`",
            )
        self._size = max(1, state.bytes // max(1, state.messages))
        several = len(self.subjects) > 1  # servers before 2.10 know one subject only
        made = await jetstream.add_consumer(
            self.stream,
            api.ConsumerConfig(
                description=f"noria {self.project}",
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._at,
                ack_policy=api.AckPolicy.NONE,
                filter_subjects=self.subjects if several else None,
                filter_subject=self.subjects[0] if self.subjects and not several else None,
                inactive_threshold=IDLE_SECONDS,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        # `BATCH_BYTES` bounds what waits here; a limit of the library would drop messages.
        self._consumer_name = made.name
        self._consumer = await jetstream.pull_subscribe_bind(
            made.name, self.stream, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._received, self._misses, self._restart = 0, 0, False
        self._restarts += 1

    async def _end_consumer(self, jetstream: Any) -> None:
        nats = _library()
        consumer, self._consumer, self._restart = self._consumer, None, True
        if consumer is not None:
            with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError):
                await consumer.unsubscribe()
                await jetstream.delete_consumer(self.stream, self._consumer_name)

    def _messages(self, found: list[Any]) -> Messages | None:
        offsets, times, values = [], [], []
        headers: list[dict[str, bytes]] | None = None
        for message in found:
            offset, number, moment = _numbers(message.reply)
            if number != self._received + 1:
                # One was lost on the way. A new consumer begins behind those before it.
                self._restart = True
                break
            self._received += 1
            offsets.append(offset)
            times.append(moment // 1_000_000)
            given = message.headers
            deleted = given is not None and not message.data and "KV-Operation" in given
            values.append(None if deleted else message.data)
            if given:
                headers = headers or [{} for _ in found]
                headers[len(offsets) - 1] = _headers(given)
        if not offsets:
            return None
        assert self._at is not None, "the consumer has a position"
        headers = headers[: len(offsets)] if headers is not None else None
        return Messages(0, self._at, offsets, times, values, offsets[-1] + 1, headers)

    async def _at_end(self, jetstream: Any) -> Messages | None:
        """What follows where no message came: the end, if it is reached. It may be behind the last message: others
        of the stream were deleted, or are of other subjects."""
        nats = _library()
        try:
            # The end first: a message that comes after this is not passed.
            end = (await self._info(jetstream)).state.last_seq + 1
            known = await self._consumer.consumer_info()
        except (nats.errors.Error, asyncio.TimeoutError) as error:
            self.problem = _said(error)
            if isinstance(error, nats.js.errors.NotFoundError):
                self._restart = True
            return None
        self.problem = None
        if known.num_pending or known.delivered.consumer_seq != self._received:
            self._misses += 1
            if self._misses > MISSES:
                self._restart = True
            return None
        self._misses = self._restarts = 0
        self._ended = True
        assert self._at is not None, "the consumer has a position"
        start, self._at = self._at, max(end, self._at)
        was_known, self._position_unknown = not self._position_unknown, False
        return None if was_known and start == self._at else Messages(0, start, [], [], [], self._at)

    async def _check_gap(self, jetstream: Any, messages: Messages) -> None:
        """Refuses to pass messages that retention has deleted before they were read."""
        if len(messages.offsets) == messages.next - messages.start:
            return
        gap = next(
            (messages.start + i for i, at in enumerate(messages.offsets) if at != messages.start + i),
            messages.next,
        )
        first = (await self._info(jetstream)).state.first_seq
        if first > gap:
            raise self._passed(first)

    async def _info(self, jetstream: Any) -> Any:
        return await jetstream.stream_info(self.stream)

    def _passed(self, first: int) -> DataError:
        return DataError(
            f"retention has passed the position {self._at:,}; the stream begins at {first:,}",
            where=self.name,
            next_step="start `noria ingest` again: it says what is lost (docs/streams.md)",
        )

    # The connection.

    def _ask(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """Does some work with JetStream: through the connection that reads, or through one for this alone."""

        async def alone() -> Any:
            client = await self._connected(attempts=1)
            try:
                return await work(self._jetstream(client))
            finally:
                await client.close()

        with self._explained():
            if self._session is None:
                return asyncio.run(alone())
            client = self._session.client

            async def together() -> Any:
                return await work(self._jetstream(client))

            return self._session.call(together())

    def _jetstream(self, client: Any) -> Any:
        return client.jetstream(timeout=WAIT, **({"domain": self._domain} if self._domain else {}))

    async def _connected(self, attempts: int) -> Any:
        nats = _library()
        client = nats.aio.client.Client()

        async def problem(error: Exception) -> None:
            # After a refusal the server closes the connection, and the library may see only that at its next attempt.
            refused = "authorization" in (self.problem or "").lower()
            if not refused and not isinstance(error, nats.errors.NoServersError):
                self.problem = str(error) or type(error).__name__

        names = {"credentials": "user_credentials", "nkey": "nkeys_seed"}
        connecting = client.connect(
            self.servers,
            name=f"noria-{self.project}",
            error_cb=problem,
            max_reconnect_attempts=attempts,
            reconnect_time_wait=0.25,
            connect_timeout=WAIT,
            tls=self._tls(),
            **self._login,
            **{name: self._files[key] for key, name in names.items() if key in self._files},
        )
        try:
            await asyncio.wait_for(connecting, WAIT)
        except BaseException as error:
            with contextlib.suppress(Exception):
                await client.close()
            self._check_signing(error)
            raise
        return client

    def _check_signing(self, error: BaseException) -> None:
        """Refuses a file that the library cannot use, whatever it has raised then; the text stays secret."""
        expected = _library().errors.Error, asyncio.TimeoutError, OSError, asyncio.CancelledError
        for key in _SIGNING.keys() & self._files.keys():
            path = self._files[key]
            if not isinstance(error, expected) or not os.access(path, os.R_OK):
                raise _wrong(
                    f"`{key}` must be {_SIGNING[key]}, and {path} is not, or cannot be read"
                ) from None

    def _tls(self) -> ssl.SSLContext | None:
        ca_file, cert_file = self._files.get("ca_file"), self._files.get("cert_file")
        if ca_file is None and cert_file is None:
            return None  # the library's own where a URL begins with tls://
        try:
            context = ssl.create_default_context(cafile=ca_file)
            if cert_file is not None:
                context.load_cert_chain(cert_file, self._files.get("key_file"))
        except OSError as error:
            raise _wrong(f"`ca_file`, `cert_file` or `key_file` cannot be used: {error}") from None
        return context

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        nats = _library()
        try:
            yield
        except nats.js.errors.NotFoundError:
            raise self._unreachable(f"there is no stream {self.stream!r}") from None
        except nats.js.errors.ServiceUnavailableError as error:
            raise self._unreachable(_said(error)) from None
        except ImportError as error:
            raise _missing(str(error)) from None
        except (nats.errors.Error, asyncio.TimeoutError, OSError, ValueError) as error:
            said = str(error) or type(error).__name__
            if (
                isinstance(error, nats.errors.NoServersError | asyncio.TimeoutError | OSError)
                and self.problem
            ):
                said = self.problem
            raise self._unreachable(said) from None

    def _unreachable(self, said: str) -> DataError:
        return DataError(
            f"the stream cannot be read: {hidden(said, self._login.values())}",
            where=f"{self.name} at {', '.join(self.servers)}",
            next_step="check the servers' addresses, the stream's name and the rights of the user",
        )


class _Session:
    """A connection in a thread, so that it answers the server while nobody reads."""

    def __init__(self, connecting: Coroutine[Any, Any, Any]):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
        self._thread.start()
        try:
            self.client = self.call(connecting)
        except BaseException:
            self._end()
            raise

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Does some work on the connection, and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self, last: Coroutine[Any, Any, Any]) -> None:
        """Ends the connection after some last work."""

        async def end() -> None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(last, WAIT / 2)  # a server that is down does not answer
            await self.client.close()

        try:
            with contextlib.suppress(Exception):
                self.call(asyncio.wait_for(end(), WAIT))
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _said(error: Exception) -> str:
    if isinstance(error, _library().js.errors.ServiceUnavailableError):
        return "JetStream does not answer: it is not enabled, or has no leader"
    return str(error) or "the server does not answer"


def _numbers(reply: str) -> tuple[int, int, int]:
    """A message's number in the stream, that in the consumer, and nanoseconds since 1970, from the subject of its
    acknowledgement (NATS's ADR-15). The library's `metadata` gives the same, and takes as long as all the rest."""
    fields = reply.split(".")
    at = 5 if len(fields) == 9 else 7  # with the names of domain and account
    return int(fields[at]), int(fields[at + 1]), int(fields[at + 2])


def _headers(given: Mapping[str, str]) -> dict[str, bytes]:
    """Headers; those of a CloudEvent are named as Kafka does it."""
    return {
        f"ce_{name[3:]}" if name.startswith("ce-") else name: value.encode("utf-8", "surrogateescape")
        for name, value in given.items()
    }


def _library() -> Any:
    try:
        import nats
        import nats.aio.client
        import nats.errors
        import nats.js.api
        import nats.js.errors
    except ImportError as error:
        raise _missing(str(error)) from None
    return nats


def _missing(said: str) -> ConfigError:
    return ConfigError(
        f"NATS needs packages that are not installed: {said}",
        where=f"config key {_KEY}",
        next_step="pip install 'noria[nats]'",
    )


def _wrong(what: str) -> ConfigError:
    return ConfigError(what, where=f"config key {_KEY}", next_step="docs/streams.md lists the keys")
