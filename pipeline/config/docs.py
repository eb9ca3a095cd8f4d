"""docs/config.md: every key of a project's file with its default and its meaning, from the settings classes.

`python -m noria.pipeline.config > docs/config.md` writes it; a test compares it with the code.
"""

import json
import textwrap
from pathlib import Path
from typing import Any

from noria.pipeline.config import explain
from noria.pipeline.config.project import Config

__all__ = ["documentation"]


def documentation() -> str:
    """The page."""
    lines = [
        "# The project's file, key by key",
        "",
        "One YAML file, `noria.yaml`, describes a project. Only `name` and `label` are required, and a time column or",
        "`span.every: rows:N`. `noria init` writes a first draft from your data. Relative paths start from the file's",
        "folder. An unknown key or a wrong value is refused, with its line.",
        "",
        "Written by `python -m noria.pipeline.config > docs/config.md`; a test compares it with the code.",
    ]
    sections: dict[str, list[str]] = {"The project": []}
    listed: dict[Any, str] = {}  # by settings class: the key under which the page lists its keys
    repeated: tuple[str, ...] = ()
    for name, field, has_keys in explain.walk(Config):
        if name.startswith(repeated):
            continue
        if field.is_required():
            default = " (required)"
        elif has_keys:
            default = ""
        else:
            value = field.get_default(call_default_factory=True)
            default = f" (default `{json.dumps(str(value) if isinstance(value, Path) else value)}`)"
        text = f"- `{name}`{default}: {field.description}"
        if has_keys and (first := listed.setdefault(explain.section_of(field.annotation), name)) != name:
            text += f" The keys are those of `{first}`."
            repeated = (*repeated, f"{name}.")
        section = f"`{name.split('.')[0]}`" if has_keys or "." in name else "The project"
        sections.setdefault(section, []).extend(
            textwrap.wrap(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        )
    for section, keys in sections.items():
        lines += ["", f"## {section}", "", *keys]
    return "\n".join([*lines, ""])
