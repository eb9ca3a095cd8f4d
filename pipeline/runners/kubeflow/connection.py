"""Where Kubeflow Pipelines is and who asks: from flags, then environment, then the project's file.

Imports no kfp. Secrets come from files or the environment, never from a flag (`ps` shows those), and are
left out of every `repr`.
"""

import dataclasses
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from noria.core.errors import ConfigError

if TYPE_CHECKING:
    from noria.pipeline.config import Config

PREFIX = "NORIA_KUBEFLOW_"
LEAST = {"timeout": 0.1, "retries": 0, "poll": 0.1}  # what no answer could meet, or would ask without a pause
FORWARD = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"


@dataclasses.dataclass(frozen=True)
class Flags:
    """What the command line says; None where it says nothing."""

    host: str | None = None
    namespace: str | None = None
    experiment: str | None = None
    token_file: Path | None = None
    cookie_file: Path | None = None
    ca_file: Path | None = None
    service_account: str | None = None


@dataclasses.dataclass(frozen=True)
class Secret:
    """A token or cookie. One in a file is read anew each time: Kubernetes renews the tokens that it mounts."""

    source: str
    value: str | None = dataclasses.field(default=None, repr=False)
    file: Path | None = None

    def read(self) -> str:
        """The secret itself.

        Raises:
          ConfigError: the file is missing or unreadable, or the secret is empty or no single line.
        """
        try:
            text = self.value or "" if self.file is None else self.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(
                f"the {self.source} cannot be read: {reason}",
                where=self.file,
                next_step="name a file that you can read",
            ) from None
        found = text.strip().removeprefix("Bearer ").strip()
        if not found or not (found.isascii() and found.isprintable()):
            # Checked here: what sends a header would repeat a bad one in its error.
            problem = "must be one line of plain characters" if found else "is empty"
            raise ConfigError(
                f"the {self.source} {problem}",
                where=self.file or "environment",
                next_step="write the secret alone into it",
            )
        return found


@dataclasses.dataclass(frozen=True)
class Connection:
    """One Kubeflow Pipelines API, as this project uses it."""

    host: str
    experiment: str
    namespace: str | None = None
    token: Secret | None = None
    cookie: Secret | None = None
    ca_file: Path | None = None
    service_account: str | None = None  # of the tasks' pods; None: the one that the server gives
    timeout: float = 30.0  # seconds that one answer may take
    retries: int = 4  # of a request that may be repeated
    poll: float = 5.0  # seconds between two looks at a run; the SDK's own default

    def link(self, kind: str, name: str) -> str:
        """The page of a run or a schedule in the web interface."""
        return f"{self.host}/#/{kind}/details/{name}"


def resolve(
    config: "Config", flags: Flags | None = None, environ: Mapping[str, str] | None = None
) -> Connection:
    """Flags before environment before the project's file.

    Args:
      environ: `NORIA_KUBEFLOW_HOST`, `_NAMESPACE`, `_EXPERIMENT`, `_TOKEN`, `_TOKEN_FILE`, `_COOKIE`,
        `_COOKIE_FILE`, `_CA_FILE`, `_SERVICE_ACCOUNT`, `_TIMEOUT`, `_RETRIES` and `_POLL`; None for this
        process's own.

    Raises:
      ConfigError: no host, or a host, a number or a file that cannot be used.
    """
    flags = flags or Flags()
    env = {
        key.removeprefix(PREFIX).lower(): value
        for key, value in (os.environ if environ is None else environ).items()
        if key.startswith(PREFIX) and value
    }
    section = config.kubeflow
    host = flags.host or env.get("host") or section.host
    if not host:
        raise ConfigError(
            "nothing says where Kubeflow Pipelines is",
            where=config.path,
            next_step=f"set `kubeflow.host`, {PREFIX}HOST or --host; with `{FORWARD}` it is http://localhost:8080",
        )
    ca_file = flags.ca_file or _path(env.get("ca_file")) or section.ca_file
    if ca_file is not None:
        _check_certificates(ca_file)
    return Connection(
        host=_host(host),
        experiment=flags.experiment or env.get("experiment") or section.experiment or config.name,
        namespace=flags.namespace or env.get("namespace") or section.namespace,
        token=_secret("token", flags.token_file, env, section.token_file),
        cookie=_secret("cookie", flags.cookie_file, env, section.cookie_file),
        ca_file=ca_file,
        service_account=flags.service_account or env.get("service_account") or section.service_account,
        timeout=_number(env, "timeout", Connection.timeout),
        retries=int(_number(env, "retries", Connection.retries)),
        poll=_number(env, "poll", Connection.poll),
    )


def _host(value: str) -> str:
    """The API's address out of what people paste: without a scheme, or a page of the web interface."""
    address = value if "://" in value else f"https://{value}"
    address = address.partition("#")[0].partition("?")[0].partition("/apis/")[0].rstrip("/")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            "the host must be an address such as https://kubeflow.example.com/pipeline",
            where=value.rpartition("@")[2],
            next_step=f"correct `kubeflow.host`, {PREFIX}HOST or --host",
        )
    if parts.username or parts.password:
        raise ConfigError(
            "the host must come without user and password",
            where=value.rpartition("@")[2],
            next_step="put a token into a file: `kubeflow.token_file` or --token-file",
        )
    return address


def _secret(kind: str, flag: Path | None, env: Mapping[str, str], section: Path | None) -> Secret | None:
    if flag is not None:
        return Secret(f"{kind} file", file=flag)
    if env.get(kind):
        return Secret(f"{PREFIX}{kind.upper()}", value=env[kind])
    file = _path(env.get(f"{kind}_file")) or section
    return None if file is None else Secret(f"{kind} file", file=file)


def _path(value: str | None) -> Path | None:
    return Path(value).expanduser() if value else None


def _number(env: Mapping[str, str], key: str, default: float) -> float:
    try:
        value = float(env.get(key, default))
        if not LEAST[key] <= value < float("inf"):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{PREFIX}{key.upper()} must be a number from {LEAST[key]:g}, got {env[key]!r}",
            where="environment",
            next_step=f"unset it, or write a number such as {default:g}",
        ) from None
    return value


def _check_certificates(file: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError as error:  # ssl.SSLError is one too
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"the CA file cannot be used: {reason}",
            where=file,
            next_step="name a PEM file with the certificate that signed the server's: --ca-file",
        ) from None
