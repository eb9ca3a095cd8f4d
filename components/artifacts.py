"""The champion among a component's input artifacts, and the cold twin in it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from tfx import types

TWIN, VERSION = "twin", "version.json"


@dataclasses.dataclass(frozen=True)
class Twin:
    """The cold twin, as ChampionResolver has copied it.

    Attributes:
      folder: in the layout of the champion's artifact.
      version: its number.
      spans: what the twin or the champion was trained on.
      leads: whether its record makes it a candidate of the run.
    """

    folder: Path
    version: int
    spans: frozenset[int]
    leads: bool


def present(artifacts: list[types.Artifact] | None) -> types.Artifact | None:
    """The champion that ChampionResolver wrote, or None on the first run (its artifact has the state `absent`)."""
    if not artifacts or artifacts[0].get_string_custom_property("state") != "present":
        return None
    return artifacts[0]


def known_since(champion: types.Artifact | None) -> int | None:
    """The span that contradicted all older ones when a champion, or a parent of it, was rescued; None without one."""
    if champion is None or not (Path(champion.uri) / VERSION).is_file():
        return None
    return _described(Path(champion.uri)).get("since")


def twin_of(champion: types.Artifact | None) -> Twin | None:
    """The twin beside a champion, if there is one."""
    if champion is None or not (Path(champion.uri) / TWIN / VERSION).is_file():
        return None
    theirs, own = _described(Path(champion.uri)), _described(Path(champion.uri) / TWIN)
    spans = frozenset(span for each in (theirs, own) for span in (each["span"], *each["spans"]))
    return Twin(Path(champion.uri) / TWIN, own["version"], spans, own["leads"])


def _described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / VERSION).read_text(encoding="utf-8"))
