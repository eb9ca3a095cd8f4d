"""What every column type must do. Run it on your own in a test:

from noria.ingestion.column_type_contract import check_column_type

def test_money():
    check_column_type(Money, reads={"$3.50": 3.5, "$-1": -1.0}, refuses=["3 apples"])
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from noria.ingestion import conversion
from noria.ingestion.column_types.base import ColumnType

__all__ = ["check_column_type"]

STORAGE = ("int64", "float64", "float32", "string")


def check_column_type(
    column_type: type[ColumnType], reads: Mapping[str, Any], refuses: Sequence[str] = ()
) -> None:
    """Checks a column type on some texts.

    Args:
      column_type: the class.
      reads: texts, and the value that each is stored as.
      refuses: texts that are not of this type.

    Raises:
      AssertionError: it breaks the contract; the message says where.
    """
    assert isinstance(column_type, type) and issubclass(column_type, ColumnType), (
        f"{column_type!r} must be a subclass of ColumnType"
    )
    own = column_type(column_type.__name__)
    assert own.label, f"{own}.label must say what one value is, such as 'a number'"
    assert own.storage in STORAGE, f"{own}.storage must be one of {', '.join(STORAGE)}, got {own.storage!r}"
    assert own.numeric in (True, False) and own.is_time in (True, False)
    assert not own.is_time or own.storage == "int64", f"{own}: times are stored as int64 epoch seconds"
    _check_widening(own)
    _check_texts(own, reads, refuses)
    _check_stored(own, reads)


def _check_widening(column_type: ColumnType) -> None:
    order = {"int64": 0, "float32": 0, "float64": 1, "string": 2}
    for name in column_type.widens_to:
        wider = conversion.named(name)
        fits = wider.storage == column_type.storage or order[wider.storage] > order[column_type.storage]
        assert fits, (
            f"{column_type}.widens_to names {name}, whose storage {wider.storage} does not hold {column_type.storage}"
        )


def _check_texts(column_type: ColumnType, reads: Mapping[str, Any], refuses: Sequence[str]) -> None:
    texts = [*reads, *refuses, None, ""]
    good = np.asarray([True] * len(reads) + [False] * (len(texts) - len(reads)))
    refused = np.asarray([text in set(refuses) for text in texts])
    for start in (0, 1):  # Arrow hands over slices of larger batches
        values, bad = _converted(column_type, pa.array([*texts[:start], *texts], pa.string()).slice(start))
        assert refused.tolist() == bad.tolist(), (
            f"{column_type}.from_text must refuse {list(refuses)} and nothing else, it refused "
            f"{[text for text, wrong in zip(texts, bad, strict=True) if wrong]}"
        )
        assert good.tolist() == np.asarray(values.is_valid()).tolist(), (
            f"{column_type}.from_text must give a value for {list(reads)}, and null for what is missing or refused, "
            f"it gave {dict(zip(map(str, texts), values.to_pylist(), strict=True))}"
        )
        found = values.to_pylist()[: len(reads)]
        assert list(reads.values()) == found, (
            f"{column_type}.from_text must give {dict(reads)}, it gave {found}"
        )
    values, bad = _converted(column_type, pa.array([], pa.string()))
    assert not len(values) and not len(bad), f"{column_type}.from_text must take a batch without rows"
    values, bad = _converted(column_type, pa.nulls(2, pa.string()))
    assert values.null_count == 2 and not bad.any(), f"{column_type}.from_text must leave missing values null"


def _check_stored(column_type: ColumnType, reads: Mapping[str, Any]) -> None:
    """What a Parquet file from the event table holds is read again."""
    values = pa.array([*reads.values(), None], conversion.stored(column_type))
    found, bad = _converted(column_type, values)
    assert not bad.any() and values.equals(found), (
        f"{column_type}.from_arrow must leave stored values as they are, it made {found.to_pylist()} of "
        f"{values.to_pylist()}"
    )


def _converted(column_type: ColumnType, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    found, bad = conversion.convert(values, column_type)
    assert found.type == conversion.stored(column_type), (
        f"{column_type} must give {column_type.storage}, it gave {found.type}"
    )
    assert isinstance(bad, np.ndarray) and bad.dtype == bool, (
        f"{column_type}: the mask must be a NumPy array of bool"
    )
    assert len(found) == len(bad) == len(values), (
        f"{column_type} must give a value and a flag for each row: {len(values)} rows, {len(found)} values, "
        f"{len(bad)} marks"
    )
    return found, bad
