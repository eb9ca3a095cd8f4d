"""A Kafka topic, read by a consumer group through librdkafka (`pip install noria[kafka]`).

The group only shares out the partitions. Where reading continues is what Noria has stored with its segments, so a
process that the group has forgotten (a zombie) can store nothing.
"""

import collections
import concurrent.futures
import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from noria.core.errors import ConfigError, DataError
from noria.ingestion import kafka_settings
from noria.ingestion.streams.base import Asked, Bounds, Messages, Stream

__all__ = ["Kafka"]

WAIT = 30.0  # seconds for answers of the broker
SHORT = 5.0  # the same where there may be none
# What Noria must decide itself.
_OWN = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
}
_KEY = "stream.source.kafka"


class Kafka(Stream):
    """Reads a topic. `given` has

    - `topic`;
    - `settings`: any of librdkafka's, such as `bootstrap.servers`. A value may be `{env: NAME}` or `{file: PATH}`; a
      password must be one of these. `group.id` is `noria-<project>` by default, `isolation.level` is `read_committed`;
    - `start`: `earliest` (the default) or `latest`, where nothing is stored yet.
    """

    def __init__(self, given: Any, folder: Path, name: str = "noria"):
        super().__init__(given, folder, name)
        values = dict(given) if isinstance(given, dict) else {}
        self.topic = values.pop("topic", None)
        settings = values.pop("settings", None)
        self._start = values.pop("start", "earliest")
        if values or not isinstance(self.topic, str) or not isinstance(settings, dict):
            raise _wrong(
                "must have `topic`, `settings` and optionally `start`, got " + (", ".join(values) or "other")
            )
        if self._start not in ("earliest", "latest"):
            raise _wrong(f"`start` must be earliest or latest, got {self._start!r}")
        for key in _OWN:
            if key in settings:
                raise _wrong(f"`settings` cannot have {key}: Noria stores the positions itself")
        self.settings: dict[str, Any] = {
            "group.id": f"noria-{name}",
            "isolation.level": "read_committed",
            **kafka_settings.read(settings, folder, f"{_KEY}.settings"),
            **_OWN,
        }
        self._incremental = (
            str(self.settings.get("partition.assignment.strategy")) == "cooperative-sticky"
            or self.settings.get("group.protocol") == "consumer"
        )
        self._consumer: Any = None
        self._admin: Any = None
        self._at: dict[int, int | None] = {}  # by assigned partition, where reading continues
        self._ended: set[int] = set()
        self._joined = False
        self._has_ids: bool | None = None  # not known yet
        self._paused = False
        self.problem: str | None = None

    @property
    def name(self) -> str:
        return f"kafka {self.topic}"

    def identity(self) -> dict[str, Any]:
        topics = self._metadata()
        return {
            "source": "kafka",
            "cluster": topics.cluster_id or None,
            "topic": self.topic,
            "topic_id": self._topic_id(),
            "group": self.settings["group.id"],
        }

    def bounds(self) -> dict[int, Bounds]:
        kafka = _library()
        partitions = [
            kafka.TopicPartition(self.topic, each) for each in self._metadata().topics[self.topic].partitions
        ]
        found = {}
        for when in ("earliest", "latest"):
            asked = {each: getattr(kafka.admin.OffsetSpec, when)() for each in partitions}
            level = kafka.IsolationLevel.READ_COMMITTED
            if self.settings["isolation.level"] != "read_committed":
                level = kafka.IsolationLevel.READ_UNCOMMITTED

            def ends(seconds: float, asked: Any = asked, level: Any = level) -> dict[int, int]:
                answers = self._client().list_offsets(asked, isolation_level=level, request_timeout=seconds)
                return {each.partition: answer.result(seconds).offset for each, answer in answers.items()}

            found[when] = self._answer(ends)
        return {
            partition: Bounds(max(0, found["earliest"][partition]), max(0, end))
            for partition, end in found["latest"].items()
        }

    def open(
        self,
        positions: Callable[[], Mapping[int, int]],
        lost: Callable[[Collection[int]], None] = lambda partitions: None,
    ) -> None:
        kafka = _library()

        def assign(consumer: Any, partitions: list[Any]) -> None:
            stored = positions()
            # A partition that the topic gets later is read from its beginning.
            latest = self._start == "latest" and not stored
            fresh = kafka.OFFSET_END if latest else kafka.OFFSET_BEGINNING
            for each in partitions:
                self._at[each.partition] = stored.get(each.partition)
                each.offset = stored.get(each.partition, fresh)
            (consumer.incremental_assign if self._incremental else consumer.assign)(partitions)
            self._joined = True
            if self._paused:
                consumer.pause(partitions)

        def revoke(consumer: Any, partitions: list[Any]) -> None:
            forget(partitions)
            if self._incremental:
                consumer.incremental_unassign(partitions)
            else:
                consumer.unassign()

        def forget(partitions: list[Any]) -> None:
            gone = {each.partition for each in partitions}
            for partition in gone:
                self._at.pop(partition, None)
            self._ended -= gone
            lost(gone)

        try:
            self._consumer = kafka.Consumer({**self.settings, "error_cb": self._error})
        except kafka.KafkaException as error:
            raise _wrong(f"librdkafka refuses the settings: {error.args[0].str()}") from None
        self._consumer.subscribe([self.topic], on_assign=assign, on_revoke=revoke, on_lost=revoke)

    def read(self, limit: int, timeout: float) -> list[Messages]:
        kafka = _library()
        try:
            consumed = self._consumer.consume(limit, timeout)
        except kafka.KafkaException as error:
            raise self._unreachable(error) from error
        # A call in Python for each message would cost more than librdkafka does: `map` and the like call from C.
        ends: dict[int, int] = {}
        if any(map(kafka.Message.error, consumed)):
            for message in filter(kafka.Message.error, consumed):
                problem = message.error()
                if problem.code() == kafka.KafkaError._PARTITION_EOF:
                    ends[message.partition()] = message.offset()
                else:
                    self._judge(message, problem)
            consumed = list(itertools.filterfalse(kafka.Message.error, consumed))
        found: dict[int, list[Any]] = collections.defaultdict(list)
        for partition, run in itertools.groupby(consumed, kafka.Message.partition):
            found[partition].extend(run)
        if found or ends:
            self.problem = None
        batches = [
            self._batch(partition, found[partition], ends.get(partition))
            for partition in (*found, *(ends.keys() - found.keys()))
            if partition in self._at
        ]
        return [batch for batch in batches if batch is not None]

    def seek(self, partition: int, position: int) -> None:
        kafka = _library()
        if partition not in self._at:
            return
        self._at[partition] = position
        self._ended.discard(partition)
        try:
            self._consumer.seek(kafka.TopicPartition(self.topic, partition, position))
        except kafka.KafkaException as error:
            raise self._unreachable(error) from error

    def assigned(self) -> set[int]:
        return set(self._at)

    def caught_up(self) -> bool:
        return self._joined and set(self._at) <= self._ended

    def pause(self, paused: bool) -> None:
        kafka = _library()
        self._paused = paused
        mine = [kafka.TopicPartition(self.topic, each) for each in self._at]
        if mine:
            (self._consumer.pause if paused else self._consumer.resume)(mine)

    def committed(self, positions: Mapping[int, int]) -> None:
        kafka = _library()
        offsets = [kafka.TopicPartition(self.topic, each, at) for each, at in positions.items()]
        try:
            if offsets:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except kafka.KafkaException:
            pass  # only tools that watch the group read it

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _batch(self, partition: int, messages: list[Any], end: int | None) -> Messages | None:
        """What was read of a partition; `end` is where it ended meanwhile, if it did.

        The end may be behind the last event: aborted transactions and control records take offsets, too.
        """
        kafka = _library()
        at = self._at[partition]
        if messages and at is not None and messages[0].offset() < at:
            # They were on their way when another position was asked for.
            messages = [each for each in messages if each.offset() >= at]
        offsets: Sequence[int] = ()
        if messages:
            first, last = messages[0].offset(), messages[-1].offset()
            without_gaps = last - first == len(messages) - 1
            offsets = range(first, last + 1) if without_gaps else list(map(kafka.Message.offset, messages))
        following = offsets[-1] + 1 if offsets else at
        if end is not None and (following is None or end >= following):
            self._ended.add(partition)
            following = end
        elif offsets:
            self._ended.discard(partition)
        if following is None or following == at:
            return None
        self._at[partition] = following
        return Messages(
            partition=partition,
            start=at if at is not None else offsets[0] if offsets else following,
            offsets=offsets,
            times=Asked(_time, messages),
            values=list(map(kafka.Message.value, messages)),
            next=following,
            headers=Asked(_headers, messages),
        )

    def _judge(self, message: Any, error: Any) -> None:
        kafka = _library()
        if error.code() in (kafka.KafkaError._AUTO_OFFSET_RESET, kafka.KafkaError.OFFSET_OUT_OF_RANGE):
            raise DataError(
                f"partition {message.partition()}: the topic no longer has the position: {error.str()}",
                where=self.name,
                next_step="start `noria ingest` again: it says what is lost (docs/streams.md)",
            )
        elif error.fatal() or error.code() in (
            kafka.KafkaError.UNKNOWN_TOPIC_OR_PART,
            kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED,
            kafka.KafkaError.GROUP_AUTHORIZATION_FAILED,
        ):
            raise self._unreachable(error)
        else:
            self.problem = error.str()  # librdkafka tries again

    def _topic_id(self) -> str | None:
        """The id that a topic gets when it is made; None where the broker has none, or does not tell."""
        kafka = _library()
        if self._has_ids is False:
            return None
        try:
            wanted = kafka.TopicCollection([self.topic])
            found = self._client().describe_topics(wanted, request_timeout=SHORT)[self.topic]
            topic_id = str(found.result(SHORT).topic_id)
        except (kafka.KafkaException, concurrent.futures.TimeoutError):
            # A broker that had ids has them again later; one that never told them is not asked again.
            self._has_ids = self._has_ids or False
            return None
        self._has_ids = bool(topic_id.strip("A="))
        return topic_id if self._has_ids else None

    def _error(self, error: Any) -> None:
        self.problem = error.str()

    def _metadata(self) -> Any:
        kafka = _library()

        def topics(seconds: float) -> Any:
            found = self._client().list_topics(self.topic, timeout=seconds)
            if found.topics[self.topic].error is not None:
                raise kafka.KafkaException(found.topics[self.topic].error)
            return found

        return self._answer(topics)

    def _answer(self, ask: Callable[[float], Any]) -> Any:
        """What `ask` returns within the seconds it gets. A broker that starts again is waited for, while the stream is
        open for a short time only: other partitions can be read."""
        kafka = _library()
        until = time.monotonic() + (WAIT if self._consumer is None else SHORT)
        while True:
            try:
                return ask(WAIT)
            except (kafka.KafkaException, concurrent.futures.TimeoutError) as error:
                if not _passes(error) or time.monotonic() > until:
                    raise self._unreachable(error) from error
            time.sleep(0.2)

    def _client(self) -> Any:
        if self._admin is None:
            kafka = _library()
            mine = {
                key: value
                for key, value in self.settings.items()
                if key not in _OWN
                and not key.startswith(("group.", "isolation.", "partition.assignment.", "queued.", "fetch."))
                and key not in ("session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms")
            }
            try:
                # Else a broker would make a topic whose name is mistyped in the config.
                mine["allow.auto.create.topics"] = False
                self._admin = kafka.admin.AdminClient({**mine, "error_cb": self._error})
            except kafka.KafkaException as error:
                raise _wrong(f"librdkafka refuses the settings: {error.args[0].str()}") from None
        return self._admin

    def _unreachable(self, error: Any) -> DataError:
        if self._admin is not None:
            self._admin.poll(0)  # a refused password is told here only
        said = error.args[0] if isinstance(error, Exception) and error.args else error
        text = said.str() if hasattr(said, "str") else str(said) or "no answer"
        return DataError(
            f"the topic cannot be read: {text}" + (f"; {self.problem}" if self.problem else ""),
            where=f"{self.name} at {self.settings['bootstrap.servers']}",
            next_step="check the broker's address, the topic's name and the rights of the user",
        )


def _library() -> Any:
    return kafka_settings.library(_KEY)


def _passes(error: Exception) -> bool:
    """Whether it is over when a broker has started, or another one is the leader of its partitions."""
    kafka = _library()
    if not isinstance(error, kafka.KafkaException):
        return False
    said = error.args[0]
    return said.retriable() or said.code() in (
        kafka.KafkaError.LEADER_NOT_AVAILABLE,
        kafka.KafkaError.NOT_LEADER_FOR_PARTITION,
        kafka.KafkaError._TRANSPORT,
    )


def _time(message: Any) -> int:
    return int(message.timestamp()[1])


def _headers(message: Any) -> dict[str, bytes]:
    return {name: value for name, value in message.headers() or () if value is not None}


def _wrong(what: str) -> ConfigError:
    return ConfigError(what, where=f"config key {_KEY}", next_step="docs/streams.md lists the keys")
