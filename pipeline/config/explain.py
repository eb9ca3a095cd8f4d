"""The errors for a wrong YAML file of a project: which key, which line, what is allowed, what was probably meant."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from noria.core.errors import ConfigError

HELP = "docs/config.md explains every key"


def refuse_duplicates(node: Any, file: Path, prefix: str = "") -> None:
    """YAML's loaders silently keep the last of two equal keys; the same value twice is harmless.

    Raises:
      ConfigError: a mapping has a key twice, with different values.
    """
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, tuple[int, str]] = {}
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        line = key.start_mark.line + 1
        text = value.value if isinstance(value, yaml.ScalarNode) else yaml.serialize(value)
        if name in seen and seen[name][1] != text:
            raise ConfigError(
                f"key `{name}` appears twice, first in line {seen[name][0]}",
                where=f"{file}, line {line}",
                next_step="keep one of them",
            )
        seen.setdefault(name, (line, text))
        refuse_duplicates(value, file, f"{name}.")


def explain(error: ValidationError, model: type[BaseModel], node: Any, file: Path) -> ConfigError:
    """pydantic's findings, all of them, in the order of the file's lines."""
    found: dict[str, tuple[int, str, str | None]] = {}
    for detail in error.errors(include_url=False):
        location = _in_file(detail["loc"])
        name = ".".join(str(part) for part in location)
        what, hint = _message(detail, name, location, model)
        if name not in found:  # a union reports once for each of its members; the first is the plainest
            found[name] = (_line(node, location), what, hint)
    problems = sorted(found.values(), key=lambda problem: problem[0])
    if len(problems) == 1:
        line, what, hint = problems[0]
        return ConfigError(what, where=f"{file}, line {line}", next_step=hint or HELP)
    lines = [f"line {line}: {what}" + (f" ({hint})" if hint else "") for line, what, hint in problems]
    return ConfigError(
        f"{len(problems)} keys are wrong\n    " + "\n    ".join(lines), where=file, next_step=HELP
    )


def walk(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Every key: its dotted name (`<name>` where the user chooses it), its field, whether it holds keys."""
    for attribute, field in section.model_fields.items():
        name = f"{prefix}{field.alias or attribute}"
        inner = section_of(field.annotation)
        yield name, field, inner is not None
        if inner is not None:
            named = any(get_origin(part) is dict for part in (field.annotation, *get_args(field.annotation)))
            yield from walk(inner, f"{name}.<name>." if named else f"{name}.")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The settings class in a field's annotation, such as that of `dict[str, Task]`; None if it has none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := section_of(part)) is not None), None)


def _line(node: Any, location: tuple[Any, ...]) -> int:
    """The line of the deepest part of a location that is in the file, from 1."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _in_file(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """A location without what pydantic puts in: the names of a union's members, `[key]` after a bad key."""
    inserted = r"(str|int|float|bool|list\[.*\]|\[key\]|(function|constrained|nullable).*)"
    return tuple(part for part in location if not re.fullmatch(inserted, str(part)))


def _message(
    detail: Any, name: str, location: tuple[Any, ...], model: type[BaseModel]
) -> tuple[str, str | None]:
    kind, value = detail["type"], detail.get("input")
    got = "nothing" if value is None else "a mapping of keys" if isinstance(value, dict) else repr(value)
    if kind == "extra_forbidden":
        return f"unknown key `{name}`", _nearest(location, model)
    if kind == "missing":
        return f"key `{name}` is missing", _description(location, model)
    if kind == "value_error":  # our own validators: "must ..., got ..."
        return (f"`{name}` {detail['ctx']['error']}" if name else str(detail["ctx"]["error"])), None
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"`{name}` must hold keys and values, got {got}", _description(location, model)
    if kind == "string_pattern_mismatch":
        return (
            f"`{name}` must be lower-case letters, digits and hyphens, and start with a letter, got {got}",
            None,
        )
    message = re.sub(r"^(Input|String|List|Value) should ", "", detail["msg"])
    message = re.sub(r", unable to .*$", "", message)
    hint = None
    if kind == "literal_error":
        near = difflib.get_close_matches(str(value), re.findall(r"'([^']+)'", message), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else None
    return f"`{name}` must {message}, got {got}", hint


def _nearest(location: tuple[Any, ...], model: type[BaseModel]) -> str:
    """The nearest key: among its siblings first, then anywhere in the file."""
    parents, word = _pattern(location[:-1], model), str(location[-1])
    keys = [key for key, _, _ in walk(model)]
    siblings = [key.rpartition(".")[2] for key in keys if key.rpartition(".")[0] == parents]
    near = difflib.get_close_matches(word.lower(), siblings, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{'.'.join([*map(str, location[:-1]), near[0]])}`?"
    elsewhere = [key for key in keys if key.rpartition(".")[2] == word.lower()]
    if elsewhere:
        return f"did you mean `{elsewhere[0]}`?"
    return "the keys here are " + ", ".join(f"`{name}`" for name in siblings)


def _description(location: tuple[Any, ...], model: type[BaseModel]) -> str | None:
    wanted = _pattern(location, model)
    return next((field.description for key, field, _ in walk(model) if key == wanted), None)


def _pattern(location: tuple[Any, ...], model: type[BaseModel]) -> str:
    """A location as `walk` names it: a name that the user chose is `<name>`."""
    keys = {key for key, _, _ in walk(model)}
    parts: list[str] = []
    for part in map(str, location):
        prefix = ".".join([*parts, "<name>", ""])
        parts.append("<name>" if any(key.startswith(prefix) for key in keys) else part)
    return ".".join(parts)
