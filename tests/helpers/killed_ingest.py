"""`noria ingest --follow`, killed at random instants while events come; and what is in the spans then."""

import collections
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from noria.ingestion.streams.log import LogWriter
from noria.stores.spans import SpanStore

START = 1_700_000_000 // 3600 * 3600
CONFIG = """
name: bench
home: home
stream:
  source: {log: events}
  segment_rows: %d
  segment_every: 1s
label: {column: clicked, classes: [0, 1]}
time: at
span: hour
"""


def event(number: int, per_hour: int) -> bytes:
    """An event of about 180 bytes with 11 fields."""
    at = START + number * 3600 // per_hour
    return (
        b'{"id":%d,"at":%d,"user":"user-%d","item":"item-%d","category":"category-%d","price":%d.99,"stock":%d,'
        b'"shop":"shop-%d","device":"mobile","score":0.%04d,"clicked":%d}'
        % (
            number,
            at,
            number % 50_021,
            number % 9_973,
            number % 37,
            number % 400,
            number % 91,
            number % 211,
            number % 10_000,
            number % 7 == 0,
        )
    )


def ids(home: Path) -> collections.Counter[int]:
    """How often each id is in the spans."""
    store = SpanStore(home)
    found: collections.Counter[int] = collections.Counter()
    for span in store.ids():
        for batch in store.read(span, ["id"]):
            found.update(batch.column(0).to_pylist())
    return found


def lost_and_twice(home: Path, count: int) -> tuple[int, int]:
    """How many of the ids 0 to `count` are in no span, and how many are in spans more than once."""
    found = ids(home)
    return sum(i not in found for i in range(count)), sum(times > 1 for times in found.values())


def kills(
    folder: Path, kill_count: int, seed: int = 14, segment_rows: int = 2_000, batch: int = 100
) -> dict[str, Any]:
    """Kills `noria ingest --follow` at random instants while events are appended; counts what is in the spans.

    Args:
      folder: an empty folder.
      kill_count: SIGKILLs; half of them at any instant from the start of the process on, half after its first commit.
      seed: of the instants.
      segment_rows, batch: events of a segment, and of one append.
    """
    (folder / "noria.yaml").write_text(CONFIG % segment_rows)
    chance = random.Random(seed)
    end = threading.Event()
    sent = [0]

    def emit() -> None:
        writer = LogWriter(folder / "events")
        while not end.is_set():
            writer.append([event(i, 4_000) for i in range(sent[0], sent[0] + batch)])
            sent[0] += batch
            end.wait(0.002)

    emitter = threading.Thread(target=emit)
    emitter.start()
    command = [sys.executable, "-m", "noria.pipeline", "ingest", "--config", str(folder / "noria.yaml")]
    for number in range(kill_count):
        child = subprocess.Popen([*command, "--follow", "--json"], stdout=subprocess.PIPE)
        assert child.stdout is not None
        if number % 2:
            while line := child.stdout.readline():
                if json.loads(line)["event"] in ("segment", "span") and chance.random() < 0.5:
                    break
            time.sleep(chance.uniform(0, 0.2))
        else:
            time.sleep(chance.uniform(0.5, 3.0))
        child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()
    end.set()
    emitter.join()
    done = subprocess.run([*command, "--flush", "--json"], check=True, capture_output=True)
    report = json.loads(done.stdout)
    lost, twice = lost_and_twice(folder / "home", sent[0])
    row = {
        "kills": kill_count,
        "events": sent[0],
        "lost": lost,
        "twice": twice,
        "lag": sum(report["lag"].values()),
    }
    print(json.dumps(row), flush=True)
    return row
