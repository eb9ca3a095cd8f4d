"""A table of Delta Lake, and a process that is killed at every few steps while it reads one: `python -m ... FOLDER`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from noria.ingestion.sources.delta import Delta
from tests.helpers.killed import killed_at, started


class Writer:
    """A table partitioned by day; what Spark or Flink would write."""

    def __init__(self, folder: Path):
        self.folder = folder / "table"

    def write(self, first: int, end: int, mode: str = "append", **more: Any) -> None:
        """Rows `first` to `end`, as one version; five rows have one day."""
        import arro3.core as core
        import deltalake

        numbers = range(first, end)
        columns = {
            "id": core.Array(list(numbers), core.DataType.int64()),
            "y": core.Array([i % 2 for i in numbers], core.DataType.int64()),
            "day": core.Array([f"day {i // 5}%" for i in numbers], core.DataType.utf8()),
            **{
                name: core.Array([value] * len(numbers), core.DataType.int64())
                for name, value in more.items()
            },
        }
        deltalake.write_deltalake(
            str(self.folder),
            core.Table.from_pydict(columns),
            mode=mode,
            partition_by=["day"],
            schema_mode="merge" if more else None,
        )

    @property
    def table(self) -> Any:
        import deltalake

        return deltalake.DeltaTable(str(self.folder))


def main(folder: Path) -> None:
    """Prints the number of kills, and the ids in the files that were copied."""
    import deltalake.fs  # noqa: F401
    import pandas  # noqa: F401

    import noria.ingestion.landing  # noqa: F401

    kills = 0
    for first, stride in ((0, 3), (6, 4), (12, 5)):
        os.waitpid(started(lambda first=first: Writer(folder).write(first, first + 6)), 0)
        n = 1
        while killed_at(n, folder / "landing", lambda: _find(folder)):
            kills, n = kills + 1, n + stride
    rows = [row for path in folder.glob("landing/*.parquet") for row in pq.read_table(path).to_pylist()]
    print(json.dumps([kills, sorted(row["id"] for row in rows)]))


def _find(folder: Path) -> None:
    Delta("table", folder, folder / "landing").find()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
