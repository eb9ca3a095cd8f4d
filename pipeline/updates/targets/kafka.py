"""A Kafka topic of model updates. `updates: [{kafka: {topic: models, settings: {bootstrap.servers: ...}}}]`."""

from pathlib import Path
from typing import Any

from noria.core.errors import ConfigError, DeliveryError
from noria.ingestion import kafka_settings
from noria.pipeline.updates.targets.base import Target

__all__ = ["Kafka"]

SECONDS = 30.0
_KEY = "updates.kafka"


class Kafka(Target):
    """Produces to a topic. `given` has `topic` and `settings`, any of librdkafka's; as in `stream.source.kafka`, a
    secret must be `{env: NAME}` or `{file: PATH}`. All updates of a project have one key, so they are in one partition.
    """

    def __init__(self, given: Any, folder: Path):
        super().__init__(given, folder)
        values = dict(given) if isinstance(given, dict) else {}
        topic, settings = values.pop("topic", None), values.pop("settings", None)
        if values or not isinstance(topic, str) or not isinstance(settings, dict):
            raise ConfigError(
                f"a topic of updates must have `topic` and `settings`, got {', '.join(values) or 'other'}",
                where=f"config key {_KEY}",
                next_step="write `- kafka: {topic: models, settings: {bootstrap.servers: host:9092}}`",
            )
        self.topic = topic
        self._settings = {
            "delivery.timeout.ms": int(SECONDS * 1000),
            **kafka_settings.read(settings, folder, f"{_KEY}.settings"),
            "enable.idempotence": True,  # acknowledged by all replicas, in order, once
        }
        self._library = kafka_settings.library(_KEY)
        self._producer: Any = None

    @property
    def name(self) -> str:
        return f"kafka {self.topic} at {self._settings['bootstrap.servers']}"

    def send(self, event: bytes) -> None:
        problems: list[Any] = []
        try:
            if self._producer is None:
                self._producer = self._library.Producer(self._settings)
            self._producer.produce(
                self.topic,
                event,
                key=b"noria",
                headers={"content-type": b"application/cloudevents+json; charset=utf-8"},
                on_delivery=lambda error, _: problems.append(error),
            )
            # Longer than the delivery time-out, so the event is either delivered or failed afterwards.
            self._producer.flush(SECONDS + 5)
        except self._library.KafkaException as error:
            problems.append(error.args[0])
        if problems != [None]:
            self._producer = None  # nothing that is still in its queue may come later
            reason = next((each.str() for each in problems if each is not None), "no answer")
            raise DeliveryError(
                f"the topic did not take an update: {reason}",
                where=self.name,
                next_step="check the broker, the topic and the user's rights; `noria updates` sends what is missing",
            )
