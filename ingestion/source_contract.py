"""What every event source must do. Run it on your own in a test:

from noria.ingestion.source_contract import check_source

def test_my_source():
    check_source(Sensors("sensors.db", Path(".")))
"""

from noria.ingestion import tables
from noria.ingestion.sources.base import Source

__all__ = ["check_source"]


def check_source(source: Source) -> None:
    """Checks an event source that has some data, and that nobody changes in the meantime.

    Raises:
      AssertionError: it breaks the contract; the message says where.
      DataError: the source has no data, or it cannot be read.
    """
    assert isinstance(source, Source), f"{type(source).__name__} must be a subclass of Source"
    assert isinstance(source.name, str) and source.name, f"name must be a text, got {source.name!r}"
    again = type(source)(source.given, source.folder, source.landing)
    found = [tables.open_tables(each.find(), name=each.name) for each in (source, source, again)]
    assert found[0], "find must return at least one table or file"
    for table in found[0]:
        assert table.columns, f"{table.name} must have columns"
        assert sum(batch.num_rows for batch, _ in table.raw(None, table.columns)), (
            f"{table.name} must have rows"
        )
    pieces = [[table.digest for table in each] for each in found]
    assert pieces[0] == pieces[1] == pieces[2], (
        "find must return the same rows, columns and order while the data does not change: "
        "else rows could be read twice"
    )
    assert len(set(pieces[0])) == len(pieces[0]), "two pieces must not hold the same content"
