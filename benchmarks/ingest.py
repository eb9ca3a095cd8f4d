"""`noria ingest` measured: events per CPU second beside a loop by hand, memory, the way of an event to its span and to
the version that has learnt it, the flights as from a file, kills at random instants, and several ingesters on Kafka
that are killed, stopped and ended while brokers are restarted.

    python -m benchmarks.ingest [--quick] [--parts speed,kafka,memory,latency,published,flights,kills,chaos]
                                [--events N] [--seconds N] [--rate N] [--kills N]
                                [--protocol eager|cooperative|consumer]

The loop by hand uses the same libraries (msgspec, pyarrow) and writes one Parquet file for each hour; it commits
nothing, checks no label and no time, and cannot be killed. CPU seconds are of the process and its threads. Kafka is
librdkafka's mock cluster in a process beside. Writes ingest.json.
"""

import argparse
import functools
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import ingest_chaos, ingest_flights, ingest_live
from noria.ingestion.events import EventSettings
from noria.ingestion.segments.ingester import Ingester
from noria.ingestion.segments.segment_store import SegmentStore
from noria.ingestion.streams.base import Stream
from noria.ingestion.streams.kafka import Kafka
from noria.ingestion.streams.log import Log, LogWriter
from noria.pipeline.config.stream import StreamSection
from noria.stores.spans import SpanStore
from tests.helpers.killed_ingest import event, kills, lost_and_twice
from tests.helpers.mock_cluster import mock_cluster

ROUNDS = 3
PARTS = ("speed", "kafka", "memory", "latency", "published", "flights", "kills", "chaos")
SETTINGS = EventSettings(label="clicked", task="binary", classes=(0, 1), time="at", every="hour")


def events(count: int, per_hour: int) -> Iterator[list[bytes]]:
    """Events in batches of 1,000."""
    for first in range(0, count, 1_000):
        yield [event(i, per_hour) for i in range(first, min(first + 1_000, count))]


def ingester(stream: Stream, home: Path) -> Ingester:
    return Ingester(
        stream,
        SETTINGS,
        StreamSection().for_ingester(SETTINGS.every),
        SegmentStore(home),
        SpanStore(home),
    )


def cpu(work: Callable[[], Any]) -> dict[str, float]:
    """Runs in a separate process; CPU and wall seconds without the imports, and the peak of memory."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run() -> None:
        begin, wall = time.process_time(), time.perf_counter()
        work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        theirs.send({"cpu": time.process_time() - begin, "wall": time.perf_counter() - wall, "mib": peak})

    process = context.Process(target=run)
    process.start()
    found = ours.recv()
    process.join()
    return found


def by_hand(read: Callable[[], Iterator[list[bytes]]], folder: Path) -> None:
    """What somebody writes first: decode, and append to one file for each hour."""
    fields = {name: type(value) for name, value in json.loads(event(1, 3600)).items()}
    shape = msgspec.defstruct("Event", list(fields.items()), gc=False)
    decode = msgspec.json.Decoder(shape).decode
    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    folder.mkdir(parents=True)
    waiting: list[pa.RecordBatch] = []

    def write() -> None:
        table = pa.Table.from_batches(waiting)
        hours = table.column("at").to_numpy() // 3600
        for hour in np.unique(hours):
            path = folder / f"{hour}-{time.monotonic_ns()}.parquet"
            pq.write_table(
                table.filter(pa.array(hours == hour)), path, compression="zstd", compression_level=1
            )
        waiting.clear()

    for values in read():
        rows = [msgspec.structs.astuple(decode(value)) for value in values]
        columns = zip(*rows, strict=True)
        arrays = [
            pa.array(column, kinds[kind]) for column, kind in zip(columns, fields.values(), strict=True)
        ]
        waiting.append(pa.RecordBatch.from_arrays(arrays, list(fields)))
        if sum(batch.num_rows for batch in waiting) >= 100_000:
            write()
    if waiting:
        write()


def from_stream(stream: Stream) -> Iterator[list[bytes]]:
    """All events of a stream, without Noria's ingester."""
    stream.open(lambda: {})
    while True:
        for messages in stream.read(2_000, 0.25):
            yield [value for value in messages.values if value is not None]
        if stream.caught_up():
            stream.close()
            return


def from_kafka(address: str, topic: str, group: str, count: int) -> Iterator[list[bytes]]:
    """All events of a topic, as a loop with confluent-kafka reads them."""
    import confluent_kafka

    settings = {
        "bootstrap.servers": address,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "log_level": 0,
    }
    consumer = confluent_kafka.Consumer(settings)
    consumer.subscribe([topic])
    while count > 0:
        values = [each.value() for each in consumer.consume(2_000, 0.25) if each.error() is None]
        count -= len(values)
        if values:
            yield values
    consumer.close()


def compared(name: str, ours: dict[str, float], hand: dict[str, float], count: int) -> dict[str, Any]:
    row = {
        "source": name,
        "events": count,
        "events_per_cpu_second": round(count / ours["cpu"]),
        "by_hand": round(count / hand["cpu"]),
        "ratio": round(ours["cpu"] / hand["cpu"], 2),
        "mib": round(ours["mib"]),
    }
    print(json.dumps(row), flush=True)
    return row


def speed(folder: Path, count: int) -> dict[str, Any]:
    """The event log to spans."""
    writer = LogWriter(folder / "events")
    for batch in events(count, count // 24):
        writer.append(batch)
    log = Log("events", folder)
    hand = cpu(lambda: by_hand(lambda: from_stream(log), folder / "hand"))
    ours = cpu(lambda: ingester(log, folder / "home").run(flush=True))
    assert lost_and_twice(folder / "home", count) == (0, 0)
    return compared("log", ours, hand, count)


def kafka(folder: Path, count: int) -> dict[str, Any]:
    """A topic of four partitions to spans; the mock cluster is in another process. It keeps 5 MB of a partition, so
    the events are compressed, as most producers do."""
    import confluent_kafka.admin

    count = min(count, 400_000)
    with mock_cluster() as cluster:
        address = cluster.address
        # In a separate process: a fork must not share librdkafka's threads.
        cpu(lambda: _produce(address, count))

        class Mock(Kafka):
            def _topic_id(self) -> str | None:
                return None  # the mock cluster never answers

        given = {"topic": "bench", "settings": {"bootstrap.servers": address, "log_level": 0}}

        def hand(i: int) -> dict[str, float]:
            read = functools.partial(from_kafka, address, "bench", f"hand-{i}", count)
            return cpu(lambda: by_hand(read, folder / f"hand-kafka-{i}"))

        def ours(i: int) -> dict[str, float]:
            home = folder / f"home-kafka-{i}"
            found = cpu(lambda: ingester(Mock(given, folder, f"bench-{i}"), home).run(flush=True))
            assert lost_and_twice(home, count) == (0, 0)
            return found

        # One after the other, several times: other work on the machine then weighs on both.
        runs = [(ours(i), hand(i)) for i in range(ROUNDS)]
        mine, theirs = (min(found, key=lambda run: run["cpu"]) for found in zip(*runs, strict=True))
        ratios = sorted(round(one["cpu"] / other["cpu"], 2) for one, other in runs)
        library = confluent_kafka.libversion()[0]
        return {**compared("kafka", mine, theirs, count), "ratios": ratios, "library": library}


def _produce(address: str, count: int) -> None:
    import confluent_kafka

    settings = {"bootstrap.servers": address, "log_level": 0, "linger.ms": 50, "compression.type": "zstd"}
    producer = confluent_kafka.Producer(settings)
    producer.list_topics("bench", timeout=10)
    for batch in events(count, count // 24):
        for i, value in enumerate(batch):
            producer.produce("bench", value, partition=i % 4)
        producer.flush(60)


def memory(folder: Path, count: int) -> dict[str, Any]:
    """The most memory of one process in each tenth of `count` events, which it appends to a log and reads."""
    log, writer = Log("events", folder), LogWriter(folder / "events", keep_bytes=256 << 20)
    work, seen, tenth = ingester(log, folder / "home"), [], count // 10
    begin = time.process_time()
    for first in range(0, count, tenth):
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far (man 5 proc)
        for at in range(first, first + tenth, 1_000):
            writer.append([event(i, count // 240) for i in range(at, at + 1_000)])
        work.run()
        seen.append(_peak())
    row = {"events": count, "mib_at_most_in_each_tenth": seen, "cpu": round(time.process_time() - begin)}
    print(json.dumps({"memory": row}), flush=True)
    return row


def _peak() -> int:
    """The most resident memory since the peak was forgotten, MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--events", type=int, help="of speed, kafka, memory and chaos")
    parser.add_argument("--seconds", type=int, help="of latency and published")
    parser.add_argument(
        "--rate", type=int, default=1_000, help="events a second of latency, published, chaos"
    )
    parser.add_argument("--kills", type=int)
    parser.add_argument("--protocol", default="cooperative", choices=ingest_chaos.PROTOCOLS, help="of chaos")
    given = parser.parse_args()
    count = given.events or (100_000 if given.quick else 1_000_000)
    quick, rate = given.quick, given.rate
    work: dict[str, Callable[[Path], dict[str, Any]]] = {
        "speed": lambda folder: speed(folder, count),
        "kafka": lambda folder: kafka(folder, count),
        "memory": lambda folder: memory(folder, count),
        "latency": lambda folder: ingest_live.latency(folder, given.seconds or (30 if quick else 120), rate),
        "published": lambda folder: ingest_live.published(
            folder, given.seconds or (30 if quick else 300), rate
        ),
        "flights": lambda folder: ingest_flights.flights(folder, *((6, 0) if quick else (53, 2))),
        "kills": lambda folder: kills(folder, given.kills or (4 if quick else 50)),
        "chaos": lambda folder: ingest_chaos.chaos(
            folder,
            given.kills or (4 if quick else 50),
            given.events or (20_000 if quick else 500_000),
            rate,
            given.protocol,
        ),
    }
    made: dict[str, Any] = {}
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory(prefix="noria-bench-") as name:
            made[part] = work[part](Path(name))
    target = Path(".setup/bench/ingest.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(made, indent=1))
    print(target)


if __name__ == "__main__":
    main()
