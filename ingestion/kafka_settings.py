"""librdkafka's settings in a config: secrets come from the environment or from a file, never from the YAML file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noria.core.errors import ConfigError

__all__ = ["library", "read", "value_of"]

_SECRETS = ("password", "secret", "ssl.key.pem", "ssl_key", "token")


def read(settings: Mapping[Any, Any], folder: Path, where: str) -> dict[str, Any]:
    """The settings with the values of `{env: NAME}` and `{file: PATH}`.

    Args:
      settings: as in the config.
      folder: the project's folder; relative paths start there.
      where: the config key, for messages.

    Raises:
      ConfigError: a secret is written in the config, or its place does not exist.
    """
    found = {str(key): value_of(str(key), value, folder, where) for key, value in settings.items()}
    if not found.get("bootstrap.servers"):
        raise ConfigError(
            "`settings` must have bootstrap.servers",
            where=f"config key {where}",
            next_step="write the broker's address: bootstrap.servers: host:9092",
        )
    return found


def value_of(key: str, value: Any, folder: Path, where: str) -> Any:
    """One setting, read from the environment or a file where the config says so.

    Args:
      key: the setting's name; for messages.
      value: what the config has: `{env: NAME}`, `{file: PATH}`, or the value itself.
      folder: the project's folder; relative paths start there.
      where: the config key above it; for messages.

    Raises:
      ConfigError: the variable is not set, the file cannot be read, or the config holds a secret itself.
    """

    def wrong(what: str) -> ConfigError:
        step = "write {env: NAME} for a variable of the environment, or {file: PATH}"
        return ConfigError(f"`{key}` {what}", where=f"config key {where}", next_step=step)

    if isinstance(value, dict):
        [(kind, name)] = value.items() if len(value) == 1 else [("", "")]
        if kind == "env":
            if name not in os.environ:
                raise wrong(f"names a variable, but the environment has no {name}")
            return os.environ[name]
        if kind == "file":
            path = folder / Path(str(name)).expanduser()
            try:
                return path.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise wrong(f"names {path}, which cannot be read: {error.strerror}") from None
        raise wrong("must be a value, {env: NAME} or {file: PATH}")
    if any(word in key for word in _SECRETS) and not key.endswith((".location", ".url")):
        raise wrong("is a secret, which does not belong in the config")
    return value


def library(where: str) -> Any:
    """The package confluent-kafka with its admin module.

    Raises:
      ConfigError: it is missing.
    """
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError:
        raise ConfigError(
            "Kafka needs the package confluent-kafka",
            where=f"config key {where}",
            next_step="pip install 'noria[kafka]'",
        ) from None
    return confluent_kafka
