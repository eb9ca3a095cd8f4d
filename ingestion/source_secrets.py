"""Secrets in the settings of a source: they come from the environment or from a file, and no message shows them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

from noria.core.errors import ConfigError

_PLACE = re.compile(r"\$\{(file:)?([^{}]+)\}")
_HIDDEN = "***"


def filled(text: str, folder: Path) -> str:
    """The text with the values of `${NAME}` (a variable of the environment) and `${file:PATH}` (the file's text).

    Raises:
      ConfigError: the variable is not set, or the file cannot be read.
    """

    def value(match: re.Match[str]) -> str:
        is_file, name = match.groups()
        if not is_file:
            if name not in os.environ:
                raise ConfigError(
                    f"the environment variable {name} is not set",
                    where="config key data.source",
                    next_step=f"set it before the command: export {name}=...",
                )
            return os.environ[name]
        try:
            return (folder / Path(name).expanduser()).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the file of a secret cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}",
                where=folder / Path(name).expanduser(),
                next_step="correct the path in ${file:...}, or the permissions of the file",
            ) from None

    return _PLACE.sub(value, text)


def hidden(text: object, secrets: Iterable[str | None]) -> str:
    """A text of another library, in one line and without these secrets."""
    line = " ".join(str(text).split())
    for secret in filter(None, secrets):
        for written in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}:
            line = line.replace(written, _HIDDEN)
    return line


def shown(url: str) -> str:
    """A URL for messages: without a user, a password and a query, which often holds a token."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
