"""JSON Web Tokens: signatures, issuer, audience and time, by PyJWT; the issuer's keys from a file or a URL.

The key decides the algorithm, not the token: RS256 for RSA of at least 2048 bits, ES256 for P-256. So neither `none`
nor HS256 with a public key as its secret is ever tried.
"""

import asyncio
import dataclasses
import json
import logging
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from noria.core import files
from noria.core.errors import ConfigError
from noria.serving.access_settings import Jwt
from noria.serving.grpc_status import Code, StatusError

REFRESH_SECONDS = 600.0
# An unknown key id asks the issuer again, not oftener than this: anybody can send one.
RETRY_SECONDS = 10.0
LEEWAY_SECONDS = 30  # between the issuer's clock and this one
MAX_BYTES = 1 << 20
REMEMBERED = 10_000  # tokens; to verify a signature takes 50 to 100 µs
LOG = logging.getLogger("noria.serving")


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a token."""

    name: str
    roles: frozenset[str]
    expires: float


class JsonWebTokens:
    """Verifies tokens.

    Raises:
      ConfigError: the file of keys cannot be used, or PyJWT is not installed. A URL is asked when a token comes.
    """

    def __init__(self, settings: Jwt):
        try:
            import jwt
        except ImportError as error:
            raise ConfigError(
                "JSON Web Tokens need the package PyJWT", next_step='pip install "noria[serving]"'
            ) from error
        self._jwt, self._settings = jwt, settings
        self._keys: dict[str | None, list[tuple[Any, str]]] = {}
        self._mark: files.Mark | None = None
        self._read = self._asked = float("-inf")
        self._holders: dict[str, Holder] = {}
        self._lock = asyncio.Lock()
        self._remote = "://" in settings.jwks
        if not self._remote:
            self._take(self._fetch())

    async def verify(self, token: str) -> Holder:
        """Who holds a token.

        Raises:
          StatusError: UNAUTHENTICATED, with what is wrong with it.
        """
        await self._refresh()
        holder = self._holders.get(token)
        if holder is None:
            holder = await self._verify(token)
            if len(self._holders) >= REMEMBERED:
                self._holders.clear()
            self._holders[token] = holder
        elif holder.expires + LEEWAY_SECONDS <= time.time():
            del self._holders[token]
            raise _refused("it has expired")
        return holder

    async def _verify(self, token: str) -> Holder:
        jwt, settings = self._jwt, self._settings
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            if kid not in self._keys and (kid is not None or not self._keys):
                await self._refresh(unknown=True)
            candidates = self._keys.get(kid, []) if kid is not None else sum(self._keys.values(), [])
            if not candidates:
                raise _refused("the issuer has no such key")
            error: Exception = _refused("no key fits")
            for key, algorithm in candidates:
                try:
                    claims = jwt.decode(
                        token,
                        key,
                        algorithms=[algorithm],
                        audience=settings.audience,
                        issuer=settings.issuer,
                        leeway=LEEWAY_SECONDS,
                        options={"require": ["exp", "iss", "aud", "sub"]},
                    )
                    return self._holder(claims)
                except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as found:
                    error = found
            raise error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise _refused(str(error) or type(error).__name__) from error

    def _holder(self, claims: Mapping[str, Any]) -> Holder:
        given = claims.get(self._settings.roles, [])
        roles = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        known = frozenset(each for each in ("predict", "admin") if each in roles)
        return Holder(str(claims["sub"]), known, float(claims["exp"]))

    async def _refresh(self, unknown: bool = False) -> None:
        """Reads the keys again where they may have changed."""
        now = time.monotonic()
        if self._remote:
            due = now - self._read > REFRESH_SECONDS or unknown
        else:
            due = now - self._asked > 1.0 and files.mark(self._settings.jwks) != self._mark
        if not due or now - self._asked < (RETRY_SECONDS if self._remote else 1.0):
            return
        async with self._lock:
            if self._asked >= now:  # somebody else has read them meanwhile
                return
            self._asked = time.monotonic()
            try:
                self._take(await asyncio.to_thread(self._fetch))
            except ConfigError as error:  # those that are known stay
                LOG.error("%s", error)

    def _take(self, text: bytes) -> None:
        from jwt.algorithms import ECAlgorithm, RSAAlgorithm

        found: dict[str | None, list[tuple[Any, str]]] = {}
        try:
            for each in json.loads(text)["keys"]:
                key: Any
                if each.get("use", "sig") != "sig" or "d" in each:
                    continue
                if each.get("kty") == "RSA" and each.get("alg", "RS256") == "RS256":
                    key, algorithm = RSAAlgorithm.from_jwk(each), "RS256"
                    if key.key_size < 2048:
                        continue
                elif each.get("kty") == "EC" and each.get("crv") == "P-256":
                    key, algorithm = ECAlgorithm.from_jwk(each), "ES256"
                else:
                    continue
                found.setdefault(each.get("kid"), []).append((key, algorithm))
        except (ValueError, KeyError, TypeError, AttributeError, self._jwt.PyJWTError) as error:
            raise ConfigError(f"is no JSON Web Key Set: {error!r}", where=self._settings.jwks) from error
        if not found:
            raise ConfigError("has no key for RS256 (2048 bits) or ES256", where=self._settings.jwks)
        self._keys, self._read = found, time.monotonic()
        self._holders.clear()

    def _fetch(self) -> bytes:
        where = self._settings.jwks
        try:
            if not self._remote:
                self._mark = files.mark(where)
                with open(where, "rb") as file:
                    return file.read(MAX_BYTES)
            with urllib.request.build_opener(_NoRedirect).open(where, timeout=5) as answer:
                return bytes(answer.read(MAX_BYTES))
        except OSError as error:
            raise ConfigError(f"the issuer's keys cannot be read: {error}", where=where) from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to a place without TLS."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def _refused(why: str) -> StatusError:
    return StatusError(Code.UNAUTHENTICATED, f"the token is not valid: {why}")
