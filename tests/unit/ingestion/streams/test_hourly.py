"""The flights as a stream and as a file; `python -m benchmarks.ingest --parts flights` takes the whole year."""

from pathlib import Path

import flight_events

from tests.helpers import hourly

SETTINGS = {
    "name": "flights",
    "label": {"column": "late", "classes": [0, 1]},
    "time": "time_hour",
    "span": "week",
}


def test_three_weeks_hour_by_hour(tmp_path: Path) -> None:
    """Sent hour by hour to a real `noria ingest --follow`, they are the same spans as from the file, row by row."""
    table = flight_events.table()
    times = table["time_hour"].to_numpy()
    table = table.filter(times < times.min() + 3 * 7 * 86_400)
    file = hourly.from_file(tmp_path / "file", table, SETTINGS)
    stream = hourly.from_stream(tmp_path / "stream", table, SETTINGS, file)
    expected = hourly.content(file)
    assert 3 <= len(expected) <= 4 and len(table) == sum(rows for _, rows, *_ in expected.values())
    assert expected == hourly.content(stream)
