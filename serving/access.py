"""Who may ask: identifies clients by API key, JSON Web Token or certificate, and enforces their roles and limits.

The access file is read again when it changes, so that a key that is removed from it is refused a second later.
"""

import contextvars
import dataclasses
import datetime
import hashlib
import logging
import time
from pathlib import Path

from noria.core import files
from noria.core.errors import NoriaError
from noria.serving import access_settings
from noria.serving.access_settings import LARGEST_MIB, ClientLimits
from noria.serving.audit_log import AuditLog
from noria.serving.grpc_status import Code, StatusError
from noria.serving.json_web_tokens import JsonWebTokens
from noria.serving.rate_limits import RateLimits

PREDICT, ADMIN = "predict", "admin"
LOOK_SECONDS = 1.0
LOG = logging.getLogger("noria.serving")

# Who asks, within a request.
CLIENT: contextvars.ContextVar[str] = contextvars.ContextVar("client", default="")


@dataclasses.dataclass(frozen=True)
class Call:
    """What a request says of its client.

    Attributes:
      authorization: the header.
      api_key: the header `x-api-key`.
      certificate: the common name of its certificate, which TLS has verified; empty for none.
      address: where it comes from.
      what: the path or the method, for the audit log.
    """

    authorization: str = ""
    api_key: str = ""
    certificate: str = ""
    address: str = ""
    what: str = ""


@dataclasses.dataclass(frozen=True)
class Client:
    """Who asks, and what he may.

    Attributes:
      body_bytes: the most that a request may have; None for the server's limit.
    """

    name: str
    roles: frozenset[str]
    limits: ClientLimits

    @property
    def body_bytes(self) -> int | None:
        return None if self.limits.body_mib is None else int(self.limits.body_mib * (1 << 20))


class Access:
    """Admits requests.

    Args:
      path: the access file.
      audit: gets what is refused.

    Raises:
      ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, audit: AuditLog | None = None):
        self._path, self._audit = path, audit
        self._limits = RateLimits()
        self._looked = time.monotonic()
        self._mark = files.mark(path)
        self._take(access_settings.read(path))

    @property
    def open_metrics(self) -> bool:
        """Whether the metrics need no token."""
        return self._settings.open_metrics

    @property
    def largest_body(self) -> int:
        """Bytes of the largest request that any client may send."""
        settings = self._settings
        limits = [settings.limits, *(each.limits for each in settings.keys)]
        limits += [each.limits for each in settings.certificates]
        sizes = [each.body_mib for each in limits if each is not None]
        return int(max(LARGEST_MIB if each is None else each for each in sizes) * (1 << 20))

    async def admit(self, call: Call, role: str | None) -> Client:
        """Who asks, if he may.

        Args:
          role: what the request needs; None for any.

        Raises:
          StatusError: UNAUTHENTICATED, PERMISSION_DENIED, or RESOURCE_EXHAUSTED with `retry_after`.
        """
        name = call.address
        try:
            self._follow()
            client = await self._identify(call)
            name = client.name
            if not client.roles or role is not None and role not in client.roles:
                raise StatusError(Code.PERMISSION_DENIED, f"{name} does not have the role {role or PREDICT}")
            rate = client.limits.requests_per_second
            if rate is not None:
                burst = client.limits.burst or max(1.0, rate)
                wait = self._limits.wait(name, rate, burst)
                if wait:
                    message = f"{name} may ask {rate:g} times a second; again in {wait:.2f} s"
                    raise StatusError(Code.RESOURCE_EXHAUSTED, message, retry_after=wait)
        except StatusError as error:
            if self._audit is not None:
                self._audit.refused(error.code.name, name, call.what)
            raise
        CLIENT.set(name)
        return client

    def check_size(self, client: Client, size: int) -> None:
        """Refuses a request that is too large for its client.

        Raises:
          StatusError: RESOURCE_EXHAUSTED, 413 in HTTP.
        """
        if client.body_bytes is not None and size > client.body_bytes:
            raise too_large(client.body_bytes)

    async def _identify(self, call: Call) -> Client:
        scheme, _, token = call.authorization.partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else call.api_key
        if token:
            key = self._keys.get(hashlib.sha256(token.encode("utf-8", "replace")).hexdigest())
            if key is not None:
                if key.expires is not None and _today() > key.expires:
                    raise StatusError(Code.UNAUTHENTICATED, f"the API key of {key.name} has expired")
                return self._client(key)
            if self._tokens is None:
                raise StatusError(Code.UNAUTHENTICATED, "the API key is not known")
            holder = await self._tokens.verify(token)
            return Client(holder.name, holder.roles, self._settings.limits)
        if call.certificate in self._certificates:
            return self._client(self._certificates[call.certificate])
        if self._settings.authenticates:
            raise StatusError(
                Code.UNAUTHENTICATED,
                f"the certificate of {call.certificate} is not known here"
                if call.certificate and self._certificates
                else "send an API key or a token: `Authorization: Bearer ...`",
            )
        return Client(call.address, frozenset((PREDICT, ADMIN)), self._settings.limits)

    def _client(self, found: access_settings.Client) -> Client:
        return Client(found.name, frozenset(found.roles), found.limits or self._settings.limits)

    def _follow(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        mark = files.mark(self._path)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._take(access_settings.read(self._path))
            LOG.info("%s is applied", self._path)
            if self._audit is not None:
                self._audit.note("access", file=str(self._path))
        except NoriaError as error:  # who had access keeps it: a mistake must not stop the clients
            LOG.error("%s is not applied: %s", self._path, error)

    def _take(self, settings: access_settings.AccessSettings) -> None:
        tokens = JsonWebTokens(settings.jwt) if settings.jwt is not None else None
        self._settings, self._tokens = settings, tokens
        self._keys = {each.sha256: each for each in settings.keys}
        self._certificates = {each.name: each for each in settings.certificates}


def too_large(limit: int) -> StatusError:
    """The error for a request of more than `limit` bytes."""
    return StatusError(Code.RESOURCE_EXHAUSTED, f"the request has more than {limit} bytes", http=413)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.timezone.utc).date()
