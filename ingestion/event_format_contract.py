"""What every format of events must do; a test of a kind calls it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from noria.ingestion.event_formats.base import EventFormat

__all__ = ["check_event_format"]


def check_event_format(
    make: Callable[[], EventFormat],
    columns: Mapping[str, str],
    good: Sequence[tuple[bytes, Mapping[str, Any]]],
    bad: Sequence[bytes],
) -> None:
    """Checks a format.

    Args:
      make: makes the format.
      columns: see `EventFormat.begin`.
      good: messages, and what they hold of the columns.
      bad: messages that cannot be read, or hold a value of another type than their column.
    """
    form = make()
    form.begin(columns)
    values = [value for value, _ in good]
    expected = [[event.get(name) for name in columns] for _, event in good]
    assert expected == [list(form.one(value)) for value in values]
    assert expected == [list(row) for row in zip(*form.together(values), strict=True)]
    for value, event in good:
        read = form.event(value)
        assert {name: read.get(name) for name in event} == dict(event)
    for value in bad:
        assert _refused(form.one, value), f"{value!r} alone must end in a ValueError"
        assert _refused(form.together, [*values, value]), f"{value!r} must end in a ValueError"
    assert expected == [list(form.one(value)) for value in values]


def _refused(read: Callable[[Any], object], given: Any) -> bool:
    try:
        read(given)
    except ValueError:
        return True
    return False
