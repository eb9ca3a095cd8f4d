"""Several `noria ingest --follow` in one consumer group that are killed, stopped, continued, ended and started again,
on brokers that are restarted, with a producer that sends events twice; and what is in the spans then.

librdkafka's mock cluster is used instead of Kafka. A broker that is down refuses connections for some seconds, and has
its events and its groups again after that.
"""

import collections
import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.core import files
from noria.ingestion.segments.segment_store import SegmentStore
from tests.helpers.killed_ingest import event, lost_and_twice
from tests.helpers.mock_cluster import MockCluster, mock_cluster

PROTOCOLS = {
    "eager": {"partition.assignment.strategy": "range"},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.protocol": "consumer"},  # KIP-848
}
BROKERS, PARTITIONS, TOPIC = 3, 4, "events"
BATCH = 100
# Of the batches, how many are sent twice.
AGAIN = 0.02
# Seconds in which an ingester must end after SIGTERM, and all of them must read the rest.
LEAVE_SECONDS, DRAIN_SECONDS = 120, 300


def chaos(
    folder: Path,
    kill_count: int,
    event_count: int,
    rate: int = 1_000,
    protocol: str = "cooperative",
    session: float = 6.0,
    seed: int = 14,
) -> dict[str, Any]:
    """Counts by id what is lost and what is twice in the spans.

    Args:
      folder: an empty folder.
      kill_count: SIGKILLs. Beside them there are a third as many SIGSTOPs, a fifth as many SIGTERMs, and half as many
        restarts of brokers.
      event_count: the producer sends at least so many events, and sends until the last kill.
      rate: events a second.
      protocol: of the consumer group, one of PROTOCOLS.
      session: seconds after which the group forgets a member. An ingester is stopped for longer.
      seed: of what happens when.
    """
    began = time.monotonic()
    with mock_cluster(BROKERS, int(session * 1000)) as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        run = _Chaos(folder, cluster, kill_count, protocol, session, random.Random(seed))
        events = run.work(event_count, rate)
        report = run.rest()
    told = run.told()
    lost, twice = lost_and_twice(folder / "home", events)
    state = SegmentStore(folder / "home").state()
    row = {
        "protocol": protocol,
        **{name: run.done[name] for name in ("kills", "zombies", "joins", "leaves", "restarts")},
        **{name: told[name] for name in ("fenced", "rebalance")},
        "events": events,
        "sent_twice": run.done["sent_twice"],
        "lost": lost,
        "twice": twice,
        # `stream.unique` would hide a position whose event is in two segments.
        "segments_twice": state.counts["events"] - sum(state.next.values()),
        "lag": sum(report["lag"].values()),
        "faults": run.faults,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(row), flush=True)
    return row


class _Chaos:
    def __init__(
        self,
        folder: Path,
        cluster: MockCluster,
        kill_count: int,
        protocol: str,
        session: float,
        chance: random.Random,
    ):
        self.folder, self.cluster, self.session, self.chance = folder, cluster, session, chance
        self.done: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self.end = threading.Event()
        self.fates = ["kill"] * kill_count
        self.fates += ["zombie"] * (kill_count // 3 or 1) + ["leave"] * (kill_count // 5 or 1)
        self.restarts = kill_count // 2 or 1
        self.open = len(self.fates)  # fates that are not over
        chance.shuffle(self.fates)
        self.guard = threading.Lock()
        settings = {"bootstrap.servers": cluster.address, "log_level": 0, **PROTOCOLS[protocol]}
        if protocol != "consumer":  # there, the broker decides
            settings["session.timeout.ms"] = int(session * 1000)
            settings["heartbeat.interval.ms"] = int(session * 1000 / 6)
        config = {
            "name": "chaos",
            "home": "home",
            "stream": {
                "source": {"kafka": {"topic": TOPIC, "settings": settings}},
                "segment_rows": 2_000,
                "segment_every": "1s",
                "unique": ["id"],
            },
            "label": {"column": "clicked", "classes": [0, 1]},
            "time": "at",
            "span": "hour",
        }
        self.segments = folder / "home" / "stream" / "segments"
        path = folder / "noria.yaml"
        path.write_text(json.dumps(config))
        self.command = [sys.executable, "-m", "noria.pipeline", "ingest", "--config", str(path), "--json"]

    def work(self, event_count: int, rate: int) -> int:
        """Two ingesters, and from the middle on a third one, while events are sent; how many were sent."""
        half = len(self.fates) // 2
        threads = [threading.Thread(target=self._lives) for _ in range(2)]
        threads.append(threading.Thread(target=self._breaks))
        for each in threads:
            each.start()
        try:
            for sent in self._sends(rate):
                if len(self.fates) <= half and len(threads) == 3:
                    threads.append(threading.Thread(target=self._lives))
                    threads[-1].start()
                if sent >= event_count and not self.open and not self.restarts:
                    break
        finally:
            self.end.set()
            for each in threads:
                each.join()
        return sent

    def rest(self) -> dict[str, Any]:
        """Reads what is left, and commits the open spans."""
        done = subprocess.run(
            [*self.command, "--flush"], capture_output=True, text=True, timeout=DRAIN_SECONDS
        )
        if done.returncode:
            self.faults.append(f"the last ingester ended with {done.returncode}: {done.stderr[-2000:]}")
            return {"lag": {}}
        return json.loads(done.stdout)

    def told(self) -> collections.Counter[str]:
        """How often the ingesters told each event."""
        found: collections.Counter[str] = collections.Counter()
        for path in self.folder.glob("*.jsonl"):
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the last line of a killed one
                    found[json.loads(line)["event"]] += 1
        return found

    def _sends(self, rate: int) -> Iterator[int]:
        """Sends events until nobody asks for more; how many so far."""
        import confluent_kafka

        # Without idempotence: a batch whose answer is lost with a connection is sent again, and is there twice.
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": self.cluster.address,
                "log_level": 0,
                "linger.ms": 50,
                "compression.type": "zstd",
            }
        )

        def delivered(error: Any, message: Any) -> None:
            assert error is None, f"an event was not sent: {error}"

        sent, began, again = 0, time.monotonic(), list[int]()
        try:
            while True:
                for first in (sent, *again):
                    for i in range(first, first + BATCH):
                        producer.produce(
                            TOPIC, event(i, 4_000), partition=i % PARTITIONS, on_delivery=delivered
                        )
                self.done["sent_twice"] += BATCH * len(again)
                again = [sent] if self.chance.random() < AGAIN else []
                sent += BATCH
                producer.poll(0)
                time.sleep(max(0.0, began + sent / rate - time.monotonic()))
                yield sent
        finally:
            assert producer.flush(60) == 0, "all events must be sent"

    def _lives(self) -> None:
        """Starts one ingester after the other, each with its fates, until the end."""
        fate = None
        while not self.end.is_set():
            number = self._count("joins")
            out, err = self._said(number)
            with out.open("wb") as stdout, err.open("wb") as stderr:
                child = subprocess.Popen([*self.command, "--follow"], stdout=stdout, stderr=stderr)
            fate = self._fate(fate)
            while fate == "zombie" and self._waits(child, out, fate):
                child.send_signal(signal.SIGSTOP)
                self._count("zombies")
                time.sleep(self.session * self.chance.uniform(1.2, 2.5))
                child.send_signal(signal.SIGCONT)
                fate = self._fate(fate)
            if fate == "kill" and self._waits(child, out, fate):
                child.send_signal(signal.SIGKILL)
                self._count("kills")
                child.wait()
                time.sleep(self.chance.choice([0, self.chance.uniform(0, self.session)]))
                continue
            if fate is None:
                while not self.end.wait(0.1) and child.poll() is None:
                    pass
            elif fate == "leave":
                self._waits(child, out, fate)
            self._leaves(child, number)

    def _leaves(self, child: subprocess.Popen[bytes], number: int) -> None:
        """Ends an ingester, which must not have ended on its own."""
        ended = child.poll()
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.faults.append(f"ingester {number} does not end")
            child.kill()
            child.wait()
        self._count("leaves")
        out, err = (path.read_text() for path in self._said(number))
        if child.returncode == -signal.SIGTERM and not out and ended is None:
            return  # while Python was starting
        if ended is not None or child.returncode:
            self.faults.append(f"ingester {number} ended with {child.returncode}: {err[-2000:]}")

    def _said(self, number: int) -> tuple[Path, Path]:
        """Where an ingester's output and errors are."""
        return self.folder / f"ingester-{number}.jsonl", self.folder / f"ingester-{number}.txt"

    def _waits(self, child: subprocess.Popen[bytes], out: Path, fate: str) -> bool:
        """Until a random instant; False if the ingester has ended.

        For a half of the kills, one of the start; for a half of the rest, one while a segment is written, when a zombie
        can do most harm; else one after a commit.
        """
        if fate == "kill" and self.chance.random() < 0.5:
            time.sleep(self.chance.uniform(0.3, 12))
            return child.poll() is None
        before, until = _commits(out), time.monotonic() + 60
        while _commits(out) == before and child.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        if fate != "leave" and self.chance.random() < 0.5:
            written, until = f"{files.STAGING}{child.pid}-*", time.monotonic() + 10
            while not any(self.segments.glob(written)) and child.poll() is None and time.monotonic() < until:
                time.sleep(0.001)
        else:
            time.sleep(self.chance.uniform(0, 2))
        return child.poll() is None

    def _fate(self, before: str | None) -> str | None:
        """The next one; the one `before` is over."""
        with self.guard:
            self.open -= before is not None
            return self.fates.pop() if self.fates else None

    def _breaks(self) -> None:
        """Restarts brokers, now and then all of them."""
        while self.restarts and not self.end.wait(self.chance.uniform(3, 20)):
            every = list(range(1, BROKERS + 1))
            which = every if self.chance.random() < 0.25 else [self.chance.choice(every)]
            for each in which:
                self.cluster.down(each)
            time.sleep(self.chance.uniform(0.2, 8))
            for each in which:
                self.cluster.up(each)
            self._count("restarts")
            self.restarts -= 1

    def _count(self, name: str) -> int:
        with self.guard:
            self.done[name] += 1
            return self.done[name]


def _commits(out: Path) -> int:
    return out.read_bytes().count(b'"segment"')
