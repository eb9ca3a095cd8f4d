"""A real `noria ingest --follow` that is really killed; `make bench-ingest` does it 50 times."""

from pathlib import Path

from tests.helpers import killed_ingest


def test_killed_at_random_instants(tmp_path: Path) -> None:
    """SIGKILL at any instant while events come: each event is in exactly one span, by id."""
    done = killed_ingest.kills(tmp_path, kill_count=2, segment_rows=500)
    assert (0, 0, 0) == (done["lost"], done["twice"], done["lag"])
    assert 1_000 < done["events"]
