"""The base of all settings: frozen pydantic models that refuse unknown keys and wrong values when they are built.

Each component has one settings class beside its executor. The project's YAML file is composed of these classes, and the
executor reads the JSON that it gets with the same class, so a key is declared once.
"""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from noria.core.errors import ConfigError

Kind = TypeVar("Kind", bound="Settings")


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
    try:
        return kind.model_validate_json(text or "{}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join([key, *map(str, first["loc"])])
        raise ConfigError(
            first["msg"].removeprefix("Value error, "),
            where=f"config key {path}",
            next_step="see docs/config.md",
        ) from error
