"""Months as people name them in other languages; Python's `strptime` knows the English names only."""

import calendar
import re

import pyarrow as pa

from noria.ingestion.arrow_values import matches

# German, French, Spanish, Italian, Portuguese, Dutch, the Scandinavian languages and Polish, where a name is not
# English. No name means two months.
_NAMES = (
    "januar jänner janvier janv enero ene gennaio gen janeiro januari stycznia",
    "februar feber février fevrier févr fevr febrero febbraio fevereiro fev februari lutego",
    "märz maerz mär mrz mars marzo março marco maart mrt marts marca",
    "avril avr abril abr aprile kwietnia",
    "mai mayo maggio mag maio mei maj maja",
    "juni juin junio giugno giu junho czerwca",
    "juli juillet juil julio luglio lug julho lipca",
    "août aout agosto ago augustus augusti sierpnia",
    "sept septembre septiembre setiembre set settembre setembro września",
    "oktober okt octobre octubre ottobre ott outubro out października",
    "novembre noviembre novembro listopada",
    "dezember dez décembre decembre déc diciembre dic dicembre dezembro desember des grudnia",
)
_MONTHS = {name: month for month, names in enumerate(_NAMES, 1) for name in names.split()}
_ANY = rf"(?i)(^|[^\pL])({'|'.join(sorted(_MONTHS, key=len, reverse=True))})([^\pL]|$)"
_WORD = re.compile(r"([^\W\d_]+)\.?")


def english(texts: pa.Array, short: bool) -> pa.Array:
    """Dates with the English name of their month; other texts as they are.

    Args:
      texts: `string`.
      short: whether names have three letters.
    """
    if not matches(texts, _ANY).any():
        return texts
    names = calendar.month_abbr if short else calendar.month_name

    def word(found: re.Match[str]) -> str:
        month = _MONTHS.get(found[1].casefold())
        return found[0] if month is None else names[month]

    def date(text: str) -> str:
        changed = _WORD.sub(word, text)
        # 2 de enero de 2024
        return text if changed == text else re.sub(r"(?i)\b(de|di|del) ", "", changed)

    return pa.array([None if text is None else date(text) for text in texts.to_pylist()], pa.string())
