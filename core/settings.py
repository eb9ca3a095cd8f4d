"""The base of all settings: frozen pydantic models that refuse unknown keys and wrong values when they are built.

Each component has one settings class beside its executor. The project's YAML file is composed of these classes, and the
executor reads the JSON that it gets with the same class, so a key is declared once.
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from noria.core.errors import ConfigError, did_you_mean

Kind = TypeVar("Kind", bound="Settings")


def _import_path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", value):
        raise ValueError(f"must be an import path such as 'preprocessing.preprocessing_fn', got {value!r}")
    return value


def listed(value: Any) -> Any:
    """A single text means a list of one."""
    return [value] if isinstance(value, str) else value


ImportPath = Annotated[str, AfterValidator(_import_path)]
Names = Annotated[list[str], BeforeValidator(listed)]


class Settings(BaseModel):
    """A mapping of the YAML file. Unknown keys are refused; nothing changes after it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_json(kind: type[Kind], text: str, key: str) -> Kind:
    """Reads an execution property.

    Args:
      kind: the settings class.
      text: a JSON object; empty for all defaults.
      key: the config key that these settings come from; for messages.

    Raises:
      ConfigError: it is not a JSON object, a key is unknown, or a value is not allowed.
    """
    return _checked(lambda: kind.model_validate_json(text or "{}"), kind, key)


def validate(kind: type[Kind], values: dict[str, Any], key: str) -> Kind:
    """The same for values that are read already.

    Raises:
      ConfigError: a key is unknown, or a value is not allowed.
    """
    return _checked(lambda: kind.model_validate(values), kind, key)


def _checked(read: Callable[[], Kind], kind: type[Kind], key: str) -> Kind:
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join([key, *map(str, first["loc"])])
        what, hint = f"{first['msg'].removeprefix('Value error, ')}", None
        if first["type"] == "extra_forbidden":
            what = f"unknown key {first['loc'][-1]!r}"
            hint = did_you_mean(first["loc"][-1], _keys(kind))
        elif first["type"] != "value_error":
            what = f"{what}, got {first.get('input')!r}"
        raise ConfigError(what, where=f"config key {path}", next_step=hint or "see docs/config.md") from error


def _keys(kind: type[BaseModel]) -> Iterator[str]:
    """The names of all keys, those of inner settings too."""
    for name, field in kind.model_fields.items():
        yield name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _keys(part)
