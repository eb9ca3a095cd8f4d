"""Real ingesters in one consumer group, with all that may happen to them and to the brokers; `make bench-ingest` does
it with 500,000 events and 50 kills."""

from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")
from benchmarks.ingest_chaos import PROTOCOLS, chaos


@pytest.mark.servers
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_event_is_in_one_span(tmp_path: Path, protocol: str) -> None:
    """SIGKILL, a zombie, SIGTERM, a restart of a broker, a third ingester, events that are sent twice."""
    done = chaos(tmp_path, kill_count=1, event_count=10_000, protocol=protocol, session=3)
    assert [0, 0, 0, 0, []] == [done[name] for name in ("lost", "twice", "segments_twice", "lag", "faults")]
    assert (1, 1, 1) == (done["kills"], done["zombies"], done["restarts"])
    assert 10_000 <= done["events"] and done["joins"] >= 4 and done["leaves"] >= 1
