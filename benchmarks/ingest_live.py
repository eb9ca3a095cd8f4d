"""Events that happen now, one after another at a steady rate: how long each part of their way takes.

`latency` follows them to their span, `published` to the version that a resident `noria run` trains on that span.
"""

import bisect
import collections
import datetime
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noria.core import periods
from noria.ingestion.streams.log import LogWriter
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore
from tests.helpers.killed_ingest import event

STEP = 0.05  # seconds between two appends
PARTS = ("to_segment", "to_span", "waiting", "components", "publication")
SAMPLE = 3_000  # events from which the project is drafted
# Every span shall be published, so that each has all parts: the events have too little to learn for the usual bounds.
GATES = {
    "model": {"metrics": {"auc": {"min": 0.0}}, "slices": [], "slice_change": None, "first_run": "bless"}
}
LATENCY = """
name: bench
home: home
stream: {source: {log: events}}
label: {column: clicked, classes: [0, 1]}
time: at
span: %s
"""


class Live:
    """Events, and the commands that work on them. A context manager, which ends all of them.

    Attributes:
      sent: when each event happened and was appended, epoch seconds, by id.
      told: what `noria ingest --follow` has told; `at` is when, epoch seconds.

    Args:
      project: the project's folder; its events are in the log `events`.
      rate: events a second.
      every: the length of a span. The first event comes when a span begins.
    """

    def __init__(self, project: Path, rate: int, every: str):
        length = periods.length(every)
        assert length is not None, "spans of time"
        self.project = project
        self.rate = rate
        self.length = length
        self.sent: list[float] = []
        self.told: list[dict[str, Any]] = []
        self._end = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Live":
        LogWriter(self.project / "events").append([])  # makes the log
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.wait()
        for thread in self._threads:
            thread.join()

    def begin(self) -> None:
        """Starts the events, and `noria ingest --follow`."""
        self._run(self._emit)
        self._run(self._listen, self.start("ingest", "--follow", stdout=subprocess.PIPE))

    def start(self, *arguments: str, stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """Starts a command of `noria` that keeps running."""
        command = [sys.executable, "-m", "noria.pipeline", *arguments, "--json"]
        with (self.project / f"{arguments[0]}.log").open("wb") as log:
            child = subprocess.Popen(command, cwd=self.project, stdout=stdout, stderr=log)
        self._children.append(child)
        return child

    def wait(self, done: Callable[[], bool], seconds: float = 300) -> None:
        """Waits until something is so.

        Raises:
          RuntimeError: a command has ended, or it takes longer than `seconds`.
        """
        until = time.monotonic() + seconds
        while not done():
            ended = [child.args for child in self._children if child.poll() is not None]
            if ended or time.monotonic() > until:
                logs = {path.name: path.read_text()[-2_000:] for path in self.project.glob("*.log")}
                raise RuntimeError(f"ended: {ended}; logs: {logs}")
            time.sleep(0.2)

    def through(self, seconds: float) -> int:
        """Waits until events have come for so many seconds, then for the end of the open span, and until that is
        committed; events go on.

        Returns:
          How many events all spans up to this one have.
        """
        self.wait(lambda: bool(self.sent), self.length + 60)
        end = math.ceil((self.sent[0] + seconds) / self.length) * self.length
        self.wait(lambda: self.sent[-1] >= end, seconds + self.length + 60)
        count = bisect.bisect_left(self.sent, end)
        self.wait(lambda: sum(each["rows"] for each in self.heard("spans")) >= count)
        return count

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """The ingester's records of one kind."""
        return [each for each in self.told if each["event"] == kind]

    def _run(self, work: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _emit(self) -> None:
        writer = LogWriter(self.project / "events")
        begin = math.ceil(time.time() / self.length) * self.length
        self._end.wait(begin - time.time())
        while not self._end.is_set():
            now, first = time.time(), len(self.sent)
            due = int((now - begin) * self.rate)
            writer.append([happened(number, now) for number in range(first, due)])
            self.sent += [now] * (due - first)
            self._end.wait(STEP)

    def _listen(self, child: "subprocess.Popen[bytes]") -> None:
        assert child.stdout is not None
        for line in child.stdout:
            record = json.loads(line)
            at = datetime.datetime.fromisoformat(record["time"]).timestamp()
            self.told.append({**record, "at": at})


def happened(number: int, now: float) -> bytes:
    """An event that happens now. A third of the categories is clicked more often than the others."""
    fields = json.loads(event(number, 3_600))
    likely = 60 if number % 37 < 12 else 20
    clicked = int(100 * random.Random(number).random() < likely)  # no pattern that a model could find
    return json.dumps({**fields, "clicked": clicked, "at": int(now), "sent": now}).encode()


def latency(folder: Path, seconds: float, rate: int = 1_000, every: str = "10s") -> dict[str, Any]:
    """From the time of an event to the commit of its span, counted from the spans."""
    (folder / "noria.yaml").write_text(LATENCY % every)
    with Live(folder, rate, every) as live:
        live.begin()
        count = live.through(seconds)
    committed: dict[int, list[float]] = collections.defaultdict(list)  # of each version of a span
    for record in live.heard("span"):
        committed[record["span"]].append(record["at"])
    store, delays = SpanStore(folder / "home"), {}
    for span in store.ids():
        for version, at in zip(store.versions(span), committed[span], strict=True):
            for batch in store.read(span, ["id", "sent"], version=version):
                for number, sent in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    delays.setdefault(number, at - sent)  # a late event counts from the first version with it
    assert sorted(delays) == list(range(len(delays))) and len(delays) >= count, "each event is in a span"
    found = np.array([delays[number] for number in range(count)])
    row = {"events": count, "a_second": rate, "spans": len(store.ids()), **_shares(found)}
    print(json.dumps({"latency": row}), flush=True)
    return row


def published(folder: Path, seconds: float, rate: int = 1_000, every: str = "30s") -> dict[str, Any]:
    """From the time of an event to the version that was trained on its span, by part.

    A resident `noria run --every 1s` polls for spans. It has made its first run, which pays the imports, on a span of
    older events before the first event that counts.
    """
    from benchmarks import drafted

    folder.joinpath("sample.jsonl").write_bytes(
        b"\n".join(happened(number, 1_700_000_000 + number) for number in range(SAMPLE))
    )
    config = drafted.project(
        folder,
        "live",
        folder / "sample.jsonl",
        "clicked",
        time="at",
        drop=["id", "sent"],
        log="events",
        span={"every": every},
        window={"first": 1},
        gates=GATES,
    )
    with Live(config.folder, rate, every) as live:
        then = (time.time() // live.length - 100) * live.length
        older = [happened(number, then + number / rate) for number in range(rate * live.length)]
        LogWriter(config.folder / "events").append(older)
        ingest = [sys.executable, "-m", "noria.pipeline", "ingest", "--flush"]
        subprocess.run(ingest, cwd=config.folder, check=True, capture_output=True)
        live.start("run", "--every", "1s")
        live.wait(lambda: bool(runs(config.home_path)), 600)
        live.begin()
        count = live.through(seconds)
        spans = live.heard("span")
        live.wait(lambda: {each["span"] for each in spans} <= runs(config.home_path).keys())
    assert not any(each["late"] for each in spans), "events come in the order of their times"
    times = runs(config.home_path)
    found = seconds_by_part(
        live.sent[:count],
        [(each["at"], each["rows"]) for each in live.heard("segment")],
        [(each["at"], each["rows"]) for each in spans],
        [times[each["span"]] for each in spans],
    )
    row: dict[str, Any] = {"events": count, "a_second": rate, "spans": len(spans)}
    row |= {name: _shares(values) for name, values in found.items()}
    print(json.dumps({"published": row}), flush=True)
    return row


def runs(home: Path) -> dict[int, tuple[float, float, float]]:
    """Of each span with a published version: when the run's first stage began, when its Pusher began, and when the
    version was published; epoch seconds."""
    registry, found = Registry(home), {}
    for _, record in registry.log.after(0):
        if record["kind"] == "published":
            version = registry.version(record["version"])
            began = dict(_began(home / "runs" / str(version.run_id) / "journal.jsonl"))
            at = datetime.datetime.fromisoformat(record["at"]).timestamp()
            found[int(version.span or 0)] = (min(began.values()), began["Pusher"], at)
    return found


def _began(journal: Path) -> Iterator[tuple[str, float]]:
    for line in journal.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["event"] == "start":
            yield record["stage"], record["time"]


def seconds_by_part(
    sent: Sequence[float],
    segments: Sequence[tuple[float, int]],
    spans: Sequence[tuple[float, int]],
    runs: Sequence[tuple[float, float, float]],
) -> dict[str, np.ndarray]:
    """The seconds of each part for each event, `[events]`; `all` is their sum.

    Args:
      sent: when each event was appended, in the order of the log.
      segments, spans: when each was committed, and its rows, in the order of the log.
      runs: for each span when its first stage began, when its Pusher began, and when its version was published.
    """

    def each_event(values: Sequence[Any], rows: Sequence[int]) -> np.ndarray:
        return np.repeat(np.array(values, float), rows, axis=0)[: len(sent)]

    (segment_at, segment_rows), (span_at, span_rows) = zip(*segments, strict=True), zip(*spans, strict=True)
    marks = np.column_stack(
        [
            np.array(sent),
            each_event(segment_at, segment_rows),
            each_event(span_at, span_rows),
            each_event(runs, span_rows),
        ]
    )
    parts = dict(zip(PARTS, np.diff(marks, axis=1).T, strict=True))
    return {**parts, "all": marks[:, -1] - marks[:, 0]}


def _shares(seconds: np.ndarray) -> dict[str, float]:
    """Median, 99th percentile and maximum."""
    found = {f"p{share}": float(np.percentile(seconds, share)) for share in (50, 99)}
    return {name: round(value, 1) for name, value in {**found, "most": float(seconds.max())}.items()}
