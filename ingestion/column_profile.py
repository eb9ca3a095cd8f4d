"""What a column's texts are: found by all its rows, in one pass, in bounded memory."""

import collections
import dataclasses
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion import conversion
from noria.ingestion.arrow_values import matches
from noria.ingestion.column_types.base import ColumnType
from noria.ingestion.number_formats import (
    BLANKS,
    COMMA,
    FORMATS,
    MISSING_NUMBER,
    PLAIN,
    NumberFormat,
    is_bound,
    money,
    plain_signs,
)

# From this share of numbers (or times) on, a column counts as numbers with some bad values, and not as text.
MOSTLY = 0.9
# A text that is not a number is a mark for "missing" if a column of numbers repeats it so often, and few others.
MARK_ROWS, MARKS = 2, 3
MARK_WORDS = (
    "unknown",
    "missing",
    "none",
    "nil",
    "no data",
    "nodata",
    "not available",
    "undefined",
    "n.a.",
    "nd",
    "unk",
    "inf",
    "+inf",
    "-inf",
    "infinity",
    "-infinity",
)
# Values that are tried first.
SAMPLE = 256
# Distinct texts beside numbers that are remembered.
OTHERS = 1_000

_CODE = r"^[+-]?(0\d+|\d{19,})$"
# A number in any of FORMATS, and some more: one look is enough for most texts.
_NUMBER_LIKE = rf"^[+-]?([\d.,'\x{{2019}}]|{BLANKS})+([eE][+-]?\d+)?\s*%?$"


@dataclasses.dataclass
class ColumnProfile:
    """Counts of what a column's texts could be. Add all batches first, then read the results.

    Attributes:
      comma: 1,234 alone is a fraction here (the file's fields are not cut by commas).
      decimal: the sign between whole and fraction, where it is known; else found.
      money: the signs of money beside its numbers; amounts in several currencies are not numbers.
      bounds: texts such as `>3` or `65+` beside its numbers; where there are many, they are classes, not numbers.
      recognized: rows by the name of the column type that recognizes their text.
    """

    comma: bool = False
    decimal: str | None = None
    present: int = 0
    integers: int = 0
    codes: int = 0
    percents: int = 0
    numbers: dict[NumberFormat, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(FORMATS, 0))
    money: set[str] = dataclasses.field(default_factory=set)
    bounds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    recognized: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, texts: pa.Array) -> None:
        """Counts a batch of texts."""
        if self.codes:
            return  # one code makes text of the column
        if not self._add_plain(texts):
            self._add_distinct(texts)

    @property
    def format(self) -> NumberFormat:
        """How its numbers are written; where two would do, the usual one of such files."""
        order = (COMMA, *(each for each in FORMATS if each != COMMA)) if self.comma else FORMATS
        order = (PLAIN, *(each for each in order if each != PLAIN))
        fitting = [each for each in order if self.decimal in (None, each.decimal)]
        return max(fitting, key=lambda each: self.numbers[each])

    @property
    def ambiguous(self) -> bool:
        """Whether its numbers can be read with the other decimal sign as well: 1,234 is 1234 or 1.234."""
        chosen = self.format
        count = self.numbers[chosen]
        others = (
            each
            for each in FORMATS
            if each.decimal != chosen.decimal and each.group != chosen.group and self.numbers[each] == count
        )
        numbers = count > 0 and count >= MOSTLY * self.present and not self.codes
        return self.decimal is None and numbers and self.numbers[PLAIN] < count and any(others)

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts that probably mean "missing" in a column of numbers: `?`, `unknown`. A proposal for `data.missing`.

        A word such as `kindergarten` among grades is a value: words count only where they are rare or well known.
        """
        others = sum(self.others.values())
        few = 0 < len(self.others) <= MARKS and min(self.others.values()) >= MARK_ROWS
        if self.codes or not few or 2 * self.numbers[self.format] < self.present:
            return ()
        known = all(not any(map(str.isalnum, text)) or text.casefold() in MARK_WORDS for text in self.others)
        rare = self.present - others >= MOSTLY * self.present
        return tuple(sorted(self.others)) if known or rare else ()

    def type_beside(self, missing: Collection[str] = ()) -> ColumnType:
        """The column's type, where these further texts mean "missing"; `empty` where there was no value at all."""
        present = self.present - sum(self.others[text] for text in missing)
        if not present:
            return conversion.named("empty")
        if self.codes or len(self.money) > 1 or sum(self.bounds.values()) > (1 - MOSTLY) * present:
            return conversion.named("string")
        floats = self.numbers[self.format]
        if floats >= MOSTLY * present:
            return conversion.named("int" if self.integers == floats and not self.percents else "float")
        name, rows = max(self.recognized.items(), key=lambda item: item[1], default=("string", 0))
        return conversion.named(name if rows >= MOSTLY * present else "string")

    def _add_plain(self, texts: pa.Array) -> bool:
        """The usual case: all are numbers that Arrow reads, or nothing. A tenth of the time of the other one."""
        missing = pc.is_in(texts, value_set=pa.array(MISSING_NUMBER))
        values = pc.replace_with_mask(texts, missing, pa.scalar(None, texts.type))
        try:
            # Arrow makes an error text for each value that it cannot read, which is ten times as slow as to read it.
            pc.cast(values.slice(0, SAMPLE), pa.float64())
            numbers = np.asarray(pc.cast(values, pa.float64()).drop_null())
        except pa.ArrowInvalid:
            return False
        if not np.isfinite(numbers).all():
            return False  # "inf" is a word
        zero = pc.match_substring_regex(values.filter(pc.starts_with(values, "0").fill_null(False)), _CODE)
        if pc.any(zero).as_py() or (len(numbers) and np.abs(numbers).max() >= 1e18):
            return False
        whole = 0
        if (numbers == np.floor(numbers)).all():
            try:
                pc.cast(values, pa.int64())
                whole = len(numbers)
            except pa.ArrowInvalid:
                return False  # 3.0, 1e5: some may be integers
        self.present += len(numbers)
        self.integers += whole
        for each in self.numbers:
            if whole or each.decimal == ".":
                self.numbers[each] += len(numbers)
        return True

    def _add_distinct(self, texts: pa.Array) -> None:
        coded = texts.dictionary_encode()
        if not len(coded.dictionary):
            return
        weights = np.bincount(np.asarray(coded.indices.drop_null()), minlength=len(coded.dictionary))
        values = pc.utf8_trim_whitespace(coded.dictionary.cast(pa.string()))
        present = ~np.asarray(pc.is_in(values, value_set=pa.array(MISSING_NUMBER)))

        def count(mask: np.ndarray) -> int:
            return int(weights[mask & present].sum())

        self.present += count(present)
        number = matches(values, _NUMBER_LIKE) & present
        if not number[present].all():
            bare = plain_signs(values)
            adorned = matches(bare, _NUMBER_LIKE) & present & ~number
            if adorned.any():
                self.money |= money(values.filter(pa.array(adorned)))
                for i in np.flatnonzero(adorned & is_bound(values))[:OTHERS]:
                    self.bounds[values[int(i)].as_py()] += int(weights[i])
                number |= adorned
                values = pc.replace_with_mask(values, pa.array(adorned), bare.filter(pa.array(adorned)))
        if number.any():
            like, weight = values.filter(pa.array(number)), weights[number]
            self.integers += int(weight[matches(like, r"^[+-]?\d{1,18}$")].sum())
            self.codes += int(weight[matches(like, _CODE)].sum())
            self.percents += int(weight[np.asarray(pc.ends_with(like, "%"))].sum())
            fits = np.zeros(len(like), bool)
            for each in FORMATS:
                mine = matches(like, each.pattern)
                self.numbers[each] += int(weight[mine].sum())
                fits |= mine
            number[number] = fits
        if number[present].all():
            return
        for column_type in conversion.known():
            if (mask := column_type.recognizes(values)) is not None:
                self.recognized[column_type.name] += count(mask)
        if len(self.others) < OTHERS:
            for i in np.flatnonzero(~number & present)[:OTHERS]:
                self.others[values[int(i)].as_py()] += int(weights[i])
