"""The access file: who may ask the server, and how much."""

import datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from noria.core import files
from noria.core.errors import ConfigError
from noria.core.settings import Settings, listed, validate

LARGEST_MIB = 1024  # of a request, where no limit says it
Roles = Annotated[list[Literal["predict", "admin"]], BeforeValidator(listed), Field(min_length=1)]


def _hexadecimal(value: str) -> str:
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError("must be the sha256 of the key, 64 lower-case hexadecimal digits")
    return value


def _source(value: str) -> str:
    """Keys that come over a network without TLS would let anybody on it make tokens."""
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError(f"must be a file or https://, got {value!r}")
    return value


class ClientLimits(Settings):
    requests_per_second: float | None = Field(
        default=None, gt=0, description="On average. Default: no limit."
    )
    burst: int | None = Field(
        default=None, ge=1, description="At once. Default: as many as in a second, at least 1."
    )
    body_mib: float | None = Field(
        default=None, gt=0, description=f"MiB of a request. Default: {LARGEST_MIB}."
    )


class Client(Settings):
    name: str = Field(
        min_length=1,
        description="The client's name, for limits and the audit log; of a certificate its common name.",
    )
    roles: Roles = Field(description="`predict`, `admin`, or both.")
    limits: ClientLimits | None = Field(default=None, description="Default: `limits`.")


class Key(Client):
    sha256: Annotated[str, AfterValidator(_hexadecimal)] = Field(description="Of the API key.")
    expires: datetime.date | None = Field(
        default=None, description="The last day on which it is valid (UTC)."
    )


class Jwt(Settings):
    jwks: Annotated[str, AfterValidator(_source)] = Field(
        description="The issuer's public keys: a file, or an https:// URL."
    )
    issuer: str = Field(min_length=1, description="What the claim `iss` must be.")
    audience: str = Field(min_length=1, description="What the claim `aud` must contain.")
    roles: str = Field(
        default="roles",
        description="The claim with the roles: a list, or a text with spaces. Others in it are ignored.",
    )


class AccessSettings(Settings):
    keys: list[Key] = Field(default_factory=list, description="API keys.")
    certificates: list[Client] = Field(
        default_factory=list, description="Client certificates; needs --tls-client-ca."
    )
    jwt: Jwt | None = Field(default=None, description="JSON Web Tokens, RS256 or ES256.")
    limits: ClientLimits = Field(default=ClientLimits(), description="Of each client without `limits`.")
    open_metrics: bool = Field(
        default=False, description="Whether Prometheus may read the metrics without a token."
    )

    @model_validator(mode="after")
    def _each_once(self) -> "AccessSettings":
        for what, values in (
            ("keys.sha256", [each.sha256 for each in self.keys]),
            ("certificates.name", [each.name for each in self.certificates]),
        ):
            twice = sorted({each for each in values if values.count(each) > 1})
            if twice:
                raise ValueError(f"`{what}` must differ, got {twice[0]} twice")
        return self

    @property
    def authenticates(self) -> bool:
        """Whether a client must say who it is; else there are limits by address only."""
        return bool(self.keys or self.certificates or self.jwt)


def read(path: Path) -> AccessSettings:
    """Reads an access file; a relative `jwks` starts from its folder.

    Raises:
      ConfigError: it cannot be read, is not YAML, or has a key or value that is not allowed.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise files.refusal(error, "the access file cannot be read", path, ConfigError) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the access file must be YAML: {error}", where=path) from error
    if not isinstance(values, dict):
        raise ConfigError(
            "the access file must hold keys and values", where=path, next_step="docs/security.md"
        )
    found = validate(AccessSettings, values, "access")
    if found.jwt is not None and "://" not in found.jwt.jwks:
        jwt = found.jwt.model_copy(update={"jwks": str(path.parent / found.jwt.jwks)})
        found = found.model_copy(update={"jwt": jwt})
    return found
