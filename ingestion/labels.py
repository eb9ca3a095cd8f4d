"""Labels: from what people write (yes, 1, True, late) to class indices or numbers."""

import collections
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.core.errors import DataError
from noria.core.tasks import TASKS
from noria.ingestion import conversion
from noria.ingestion.number_formats import PLAIN, NumberFormat

# Words for the two classes of a binary label, which may be mixed freely.
NEGATIVE = ("0", "false", "f", "no", "n")
POSITIVE = ("1", "true", "t", "yes", "y")
# Words that make a class the positive one beside any other.
YES_LIKE = (*POSITIVE, "positive", "pos")
MAX_CLASSES = 1_000
# Characters without width, which web pages and spreadsheets leave in texts.
INVISIBLE = "[\u200b\u2060\ufeff\u00ad]"


class Labels:
    """Codes one label column.

    Args:
      column: its name, for messages.
      task: `binary`, `multiclass` or `regression`.
      classes: the values by class index; the second one of `binary` is the positive class. None: `settle`
        finds them among the observed values.

    Raises:
      DataError: the classes don't suit the task.
    """

    def __init__(self, column: str, task: str, classes: Sequence[object] | None = None):
        if task not in TASKS:
            raise DataError(f"the task must be one of {', '.join(TASKS)}, got {task!r}")
        self.column = column
        self.task = task
        self.classes = None if classes is None else tuple(_word(value) for value in classes)
        self._observed: collections.Counter[str] = collections.Counter()
        if task == "regression":
            self.classes = ()
        elif self.classes is not None:
            self._check_classes()

    def normalise(self, values: pa.Array, form: NumberFormat = PLAIN) -> tuple[pa.Array, np.ndarray]:
        """First step, row by row.

        Args:
          values: as in the table, `[rows]`; text that means "missing" is null already.
          form: how numbers are written in text.

        Returns:
          Words (float64 for regression), `[rows]`, null where unlabelled, and a mask of the rows whose value
          is not a number, or not a known class.
        """
        if self.task == "regression":
            numbers, bad = conversion.convert(values, conversion.named("float"), form)
            if bad.any():  # a length of time, such as 2:55:10, is a quantity, too
                seconds, wrong = conversion.convert(values, conversion.named("clock"), form)
                numbers = pc.if_else(pa.array(bad), seconds, numbers)
                bad = bad & wrong
            return numbers, bad
        words = words_of(values)
        for entry in words.value_counts().to_pylist():
            if entry["values"] is not None:
                self._observed[entry["values"]] += entry["counts"]
        if self.classes is None:
            return words, np.zeros(len(words), bool)
        codes = self._codes(words)
        return words, np.asarray(words.is_valid()) & ~np.asarray(codes.is_valid())

    def settle(self) -> None:
        """Finds the classes among the observed values, unless they are known.

        Raises:
          DataError: no labels at all, or not two of them for `binary`.
        """
        if self.classes is not None:
            return
        if not self._observed:
            raise DataError(
                "no row has a label",
                where=f"label column {self.column!r}",
                next_step="name the right column as the label, or wait until labels are there",
            )
        folded = {word.casefold(): word for word in self._observed}
        if self.task == "binary":
            self.classes = self._two_of(folded)
        else:
            self.classes = tuple(sorted(self._observed, key=_order))
        self._check_classes()

    def code(self, words: pa.Array) -> pa.Array:
        """Second step, once the classes are settled: words to class indices, int64 `[rows]`; numbers stay."""
        return words if self.task == "regression" else self._codes(words)

    def count(self, coded: pa.Array) -> dict[str, int]:
        """Rows by class (regression: `labelled`), and `unlabelled`."""
        unlabelled = coded.null_count
        if self.task == "regression":
            return {"labelled": len(coded) - unlabelled, "unlabelled": unlabelled}
        found = np.bincount(np.asarray(coded.drop_null()), minlength=len(self._settled))
        counts = {word: int(found[i]) for i, word in enumerate(self._settled)}
        return {**counts, "unlabelled": unlabelled}

    @property
    def expected(self) -> str:
        """For messages: what a label may be."""
        return (
            "a number" if self.task == "regression" else f"one of {', '.join(map(repr, self.classes or ()))}"
        )

    @property
    def _settled(self) -> tuple[str, ...]:
        assert self.classes is not None, "the classes are given, or `settle` has found them"
        return self.classes

    def _codes(self, words: pa.Array) -> pa.Array:
        classes = self._settled
        known = {word: i for i, word in enumerate(classes)}
        for i, word in enumerate(classes):
            known.setdefault(word.casefold(), i)
        if self.task == "binary":
            first, second = (word.casefold() for word in classes)
            if first in NEGATIVE and second in POSITIVE:
                known.update(dict.fromkeys(NEGATIVE, 0) | dict.fromkeys(POSITIVE, 1))
        coded = words.dictionary_encode()
        texts = coded.dictionary.to_pylist()
        codes = pa.array([known.get(text, known.get(text.casefold())) for text in texts], pa.int64())
        return codes.take(coded.indices)

    def _two_of(self, folded: dict[str, str]) -> tuple[str, ...]:
        if set(folded) <= set(NEGATIVE) | set(POSITIVE):
            # Also where only one of the two has been seen so far.
            if len(folded) == 2 and sum(word in NEGATIVE for word in folded) == 1:
                return tuple(sorted(folded.values(), key=lambda word: word.casefold() in POSITIVE))
            return ("0", "1")
        if len(folded) != 2:
            some = ", ".join(f"{word!r} ({count:,} rows)" for word, count in self._observed.most_common(6))
            raise DataError(
                f"a binary label must have two values, this one has {len(folded)}: {some}",
                where=f"label column {self.column!r}",
                next_step="set `label.classes` to the two values, or `task` to multiclass or regression",
            )
        first, second = sorted(folded.values(), key=_order)
        return (second, first) if first.casefold() in YES_LIKE else (first, second)

    def _check_classes(self) -> None:
        classes = self._settled
        where = f"label column {self.column!r}"
        if len(set(classes)) != len(classes):
            raise DataError(f"a class is named twice: {', '.join(classes)}", where=where)
        if self.task == "binary" and len(classes) != 2:
            raise DataError(
                f"a binary label has two classes, got {len(classes)}: {', '.join(classes[:6])}",
                where=where,
                next_step="name two classes, or set `task: multiclass`",
            )
        if not 2 <= len(classes) <= MAX_CLASSES:
            raise DataError(
                f"a multiclass label must have 2 to {MAX_CLASSES:,} classes, got {len(classes):,}",
                where=where,
                next_step="name the right column as the label, or set `task: regression`",
            )


def words_of(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Labels as words with single blanks, and whole numbers in one way, as 1, 1.0 and +1 are one class."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_null(values.type):
        return values.cast(pa.string())
    coded = values.dictionary_encode()  # a label has few values
    words = conversion.convert(coded.dictionary, conversion.named("string"))[0]
    words = pc.replace_substring_regex(words, INVISIBLE, "")
    words = pc.utf8_trim_whitespace(pc.replace_substring_regex(words, r"[\s\p{Z}]+", " "))
    # A column with missing values is often written as floats.
    words = pc.replace_substring_regex(words, r"^\+?(-?\d+)(\.0*)?$", r"\1")
    return words.take(coded.indices)


def _word(value: object) -> str:
    return words_of(pa.array([value]))[0].as_py() or str(value)


def _order(word: str) -> tuple[int, float, str]:
    try:
        return (0, float(word), word)
    except ValueError:
        return (1, 0.0, word)
