"""The measurements of events that happen now: what they count, on real commands and on times that are written down."""

from pathlib import Path

from benchmarks import ingest_live


def test_the_seconds_of_each_part() -> None:
    """Each event has the times of its segment, its span and its run; the parts add up to the whole way."""
    found = ingest_live.seconds_by_part(
        sent=[0.0, 1.0, 4.0],
        segments=[(2.0, 2), (5.0, 1), (9.0, 4)],
        spans=[(6.0, 1), (8.0, 2)],
        runs=[(7.0, 9.0, 10.0), (11.0, 14.0, 15.5)],
    )
    assert {
        "to_segment": [2.0, 1.0, 1.0],
        "to_span": [4.0, 6.0, 3.0],
        "waiting": [1.0, 3.0, 3.0],
        "components": [2.0, 3.0, 3.0],
        "publication": [1.0, 1.5, 1.5],
        "all": [10.0, 14.5, 11.5],
    } == {name: values.tolist() for name, values in found.items()}


def test_each_event_of_a_closed_span_is_counted(tmp_path: Path) -> None:
    """Of a real `noria ingest --follow`, with all events up to the last span, which is waited for."""
    row = ingest_live.latency(tmp_path, seconds=2, rate=100, every="2s")
    assert row["events"] >= 200 and row["spans"] >= 1
    assert 0 < row["p50"] <= row["p99"] <= row["most"] < 30
