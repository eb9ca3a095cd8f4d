"""How `noria predict` reads the cells of a CSV file."""

from pathlib import Path

import pytest

from noria.core.errors import DataError
from noria.pipeline.cli import predict


def test_times_are_seconds_or_iso() -> None:
    """A whole number may be a time in ISO 8601, which becomes seconds since 1970; other texts are refused."""

    def read(*cells: str) -> list:
        return predict._typed("due", {"due": list(cells)}, "int64", Path("rows.csv"), True)

    assert [1_706_745_600, None] == read("2024-02-01", "")
    assert [1_706_745_600, 1_706_745_600] == read("2024-02-01T00:00:00Z", "2024-02-01 01:00+01:00")
    assert [5, -3, None] == read("5", "-3", "")
    with pytest.raises(DataError, match="a time is whole seconds since 1970, or ISO 8601"):
        read("01.02.2024")
