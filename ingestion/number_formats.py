"""How people write numbers in text, and the texts that mean "nothing here"."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Texts that mean "nothing here" in any column, and those that mean it only where numbers are expected.
MISSING = ("", "NA", "N/A", "n/a", "na", "null", "NULL", "Null", "NaN", "nan", "NAN", "#N/A", "<NA>")
MISSING_NUMBER = (*MISSING, "None", "none", "-", ".")

_BLANKS = "[ \u00a0\u202f]"


@dataclasses.dataclass(frozen=True)
class NumberFormat:
    """How people write numbers.

    Attributes:
      decimal: between whole and fraction, `.` or `,`.
      group: between thousands, as a regular expression; may be empty.
    """

    decimal: str = "."
    group: str = ""

    @property
    def pattern(self) -> str:
        decimal = "\\" + self.decimal if self.decimal == "." else self.decimal
        whole = rf"(\d+|\d{{1,3}}({self.group}\d{{3}})+)" if self.group else r"\d+"
        return rf"^[+-]?({whole}({decimal}\d*)?|{decimal}\d+)([eE][+-]?\d+)?\s*%?$"

    def plain(self, texts: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
        """The texts as Arrow reads them, and which are percentages (None: none)."""
        texts = pc.utf8_trim_whitespace(texts)
        if self.group:
            texts = pc.replace_substring_regex(texts, rf"(\d){self.group}(\d{{3}})", r"\1\2")
            texts = pc.replace_substring_regex(texts, rf"(\d){self.group}(\d{{3}})", r"\1\2")  # 1,234,567
        if self.decimal != ".":
            texts = pc.replace_substring(texts, self.decimal, ".")
        percent = np.asarray(pc.ends_with(texts, "%").fill_null(False))
        if not percent.any():
            return texts, None
        return pc.replace_substring_regex(texts, r"\s*%$", ""), percent


PLAIN = NumberFormat()
COMMA = NumberFormat(",")
FORMATS = (
    PLAIN,
    NumberFormat(".", ","),  # 1,234.5
    COMMA,  # 1234,5
    NumberFormat(",", "\\."),  # 1.234,5
    NumberFormat(",", _BLANKS),  # 1 234,5
    NumberFormat(".", _BLANKS),
    NumberFormat(".", "['\u2019]"),  # 1'234.5
)
