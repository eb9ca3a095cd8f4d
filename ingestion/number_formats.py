"""How people write numbers in text, and the texts that mean "nothing here"."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noria.ingestion.arrow_values import matches

# Texts that mean "nothing here" in any column, and those that mean it only where numbers are expected.
# \N is MySQL's and Hive's; those with # are what a spreadsheet writes for a formula that failed.
MISSING = (
    *("", "NA", "N/A", "n/a", "na", "null", "NULL", "Null", "(null)", "NaN", "nan", "NAN", "<NA>", "\\N"),
    *("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!"),
)
MISSING_NUMBER = (*MISSING, "None", "none", "-", "--", ".")

# The blank, and those of 7, 9, A0 and 202F hex that typesetters use between thousands.
BLANKS = "[ \u00a0\u2007\u2009\u202f]"

# Signs and names of money, before or behind an amount.
_MONEY = (
    r"(?:(?:US|R|A|C|NZ|HK|S)?\$|[€£¥₹₽₩₺₪₫₴₦฿]|USD|EUR|GBP|CHF|JPY|CNY|INR|BRL|CAD|AUD|SEK|NOK|PLN|kr|zł|Kč)"
)
_BEFORE, _BEHIND = rf"^([+-]?){_MONEY}{BLANKS}*([+-]?\.?\d)", rf"(\d\.?){BLANKS}*{_MONEY}$"


# A number that is only known to be larger or smaller than this.
_ABOVE_OR_BELOW, _AND_MORE = rf"^[<>≤≥]=?{BLANKS}*(-?[.,]?\d)", r"^(\d[\d.,]*)\+$"


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

    @property
    def example(self) -> str:
        """A number that is written so, for messages."""
        sign = " " if self.group == BLANKS else self.group.strip("\\[]")[:1]
        return f"1{sign}234{self.decimal}5"

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
    NumberFormat(",", BLANKS),  # 1 234,5
    NumberFormat(".", BLANKS),
    NumberFormat(".", "['\u2019]"),  # 1'234.5
)


def plain_signs(texts: pa.Array) -> pa.Array:
    """Numbers with the signs that people and programs write around them, without these signs.

    `$1,234` and `5 €` lose the sign of money, `(12.5)` and `12.5-`, as bookkeepers write them, become `-12.5`, the
    minus of typesetters becomes a hyphen, and Fortran's `1.5D3` becomes `1.5E3`. A bound such as `>3`, `<0.1` or `65+`
    becomes the number in it. Other texts may change too.
    """
    texts = pc.utf8_trim_whitespace(texts)
    texts = pc.replace_substring_regex(texts, _ABOVE_OR_BELOW, r"\1")
    texts = pc.replace_substring_regex(texts, _AND_MORE, r"\1")
    texts = pc.replace_substring_regex(texts, "^[\u2212\u2010\u2011\u2013]", "-")
    texts = pc.replace_substring_regex(texts, r"^\((.*\d.*)\)$", r"-\1")
    texts = pc.replace_substring_regex(texts, _BEFORE, r"\1\2")
    texts = pc.replace_substring_regex(texts, _BEHIND, r"\1")
    texts = pc.replace_substring_regex(texts, r"^(\d[\d.,]*[.,]\d+)-$", r"-\1")
    return pc.replace_substring_regex(texts, r"^([+-]?[\d.,]+)[dD]([+-]?\d+)$", r"\1E\2")


def is_bound(texts: pa.Array) -> np.ndarray:
    """Which texts are a bound of a number, such as `>3`, `<0.1` or `65+`."""
    return matches(texts, f"{_ABOVE_OR_BELOW}|{_AND_MORE}")


def money(texts: pa.Array) -> set[str]:
    """The signs of money beside the digits of these texts."""
    found: set[str] = set()
    for pattern in (
        rf"^[+(-]?(?P<sign>{_MONEY}){BLANKS}*[+-]?\.?\d",
        rf"\d\.?{BLANKS}*(?P<sign>{_MONEY})\)?$",
    ):
        signs = pc.extract_regex(texts.filter(pc.match_substring_regex(texts, pattern)), pattern)
        found.update(signs.field(0).unique().to_pylist())
    return found
