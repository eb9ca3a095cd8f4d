"""Wider types of a stream's columns, after the first events; for files see widening.py.

Events are decoded with the types that the stream has. Only where more of them are refused than `data.max_bad_share`
allows are their own types found, so a few wrong values are dead letters.
"""

from collections.abc import Collection, Mapping

from noria.ingestion import conversion, widening
from noria.ingestion.calendar import Calendar
from noria.ingestion.events import EventSettings
from noria.ingestion.segments.decoding import columns_of, kind_of

__all__ = ["current", "unknown_fields", "wider"]


def current(settled: Mapping[str, str], calendar: Calendar | None, settings: EventSettings) -> dict[str, str]:
    """The columns of the events, and the names of the types that they are decoded with now.

    A type that `noria migrate` gave to the spans counts, and a wider one in `data.types`.

    Args:
      settled: the stream's columns and types.
      calendar: that of the spans, if there are any.
      settings: have the types of the config.

    Raises:
      DataError: the config asks for a type that may not hold the values there are.
    """
    types = conversion.resolved(settled, settings.folder)
    if calendar is not None:
        spans = conversion.resolved(columns_of(calendar), settings.folder)
        for name in types.keys() & spans.keys():
            if conversion.unify(spans[name], types[name]) != types[name]:
                types[name] = spans[name]
    free = {name: kind for name, kind in types.items() if name not in settings.as_it_is}
    types |= widening.asked(free, conversion.resolved(settings.types, settings.folder))
    return {name: kind.name for name, kind in types.items()}


def wider(
    known: Mapping[str, str], kinds: Mapping[str, Collection[str]], settings: EventSettings
) -> dict[str, str]:
    """The wider types that events need which were refused; none where no wider type helps.

    Args:
      known: the columns and types that they were decoded with.
      kinds: of the values of these events, by field, as of `decoding.kinds_of`.
      settings: columns with a type in the config keep it.
    """
    found = {}
    for name, known_type in known.items():
        kind = None if "" in kinds.get(name, ()) else kind_of(kinds.get(name, ()))
        if kind is None or name in settings.as_it_is or name in settings.types:
            continue
        old = conversion.named(known_type, settings.folder)
        both = conversion.unify(old, conversion.named(kind))
        if both is not None and both != old:
            found[name] = both.name
    return found


def unknown_fields(
    known: Mapping[str, str], kinds: Mapping[str, Collection[str]], settings: EventSettings
) -> list[str]:
    """Fields that could be columns and are none; the config may leave fields out without a word."""
    if settings.columns is not None:
        return []
    return sorted(name for name, found in kinds.items() if name not in known and kind_of(found))
