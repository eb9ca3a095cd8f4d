"""Confluent's schema registry, and the wire format of the messages that name a schema in it.

A message is a zero byte, the number of its schema (4 bytes, big-endian), and the event. A schema of a number never
changes, so each is asked for once. The parts of the REST API that are used:

    GET /schemas/ids/{id}                            {"schema": ..., "schemaType": ..., "references": [...]}
    GET /subjects/{subject}/versions/{version}       the same, of a reference

with `?format=serialized` for Protobuf: the schema is a FileDescriptorProto in base64.
"""

import base64
import json
import struct
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from noria.core.errors import ConfigError, DataError
from noria.ingestion.kafka_settings import value_of
from noria.ingestion.source_secrets import shown

_KEYS = ("registry", "username", "password", "token", "ca_file")
# Seconds until a schema that was not there is asked for again.
ABSENT_SECONDS = 60.0
SECONDS = 10.0


class Registry:
    """A schema registry.

    Args:
      given: `registry` (its URL), and `username` and `password`, or `token`; each may be `{env: NAME}` or
        `{file: PATH}`, secrets must be. `ca_file` has certificates to trust.
      folder: the project's folder.
      kind: of the schemas: `AVRO` or `PROTOBUF`.
      where: the config key, for messages.

    Raises:
      ConfigError: the settings are wrong.
    """

    def __init__(self, given: Any, folder: Path, kind: str, where: str):
        if not isinstance(given, dict) or "registry" not in given or not set(given) <= set(_KEYS):
            raise ConfigError(
                f"the format needs the URL of a schema registry; its keys are {', '.join(_KEYS)}",
                where=f"config key {where}",
                next_step=f"write it like format: {{{where.rpartition('.')[2]}: {{registry: https://registry:8081}}}}",
            )
        values = {key: value_of(key, value, folder, where) for key, value in given.items()}
        self.url = str(values["registry"]).rstrip("/")
        self.kind = kind
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json"}
        if "token" in values:
            self._headers["Authorization"] = f"Bearer {values['token']}"
        elif "username" in values:
            pair = f"{values['username']}:{values.get('password', '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        ca = values.get("ca_file")
        self._ca = None if ca is None else str(folder / str(ca))
        self._pool: Any = None
        self._found: dict[str, dict[str, Any]] = {}
        self._absent: dict[str, float] = {}

    def schema(self, number: int) -> dict[str, Any]:
        """The schema of a number: `schema`, and `references` if it has any.

        Raises:
          ValueError: the registry has no such schema, or one of another kind.
          DataError: the registry does not answer, or refuses.
        """
        return self._get(f"/schemas/ids/{number}", f"schema {number}")

    def reference(self, given: dict[str, Any]) -> dict[str, Any]:
        """The schema that another one imports: `name`, `subject` and `version` are given."""
        path = f"/subjects/{quote(str(given['subject']), safe='')}/versions/{given['version']}"
        return self._get(path, f"version {given['version']} of {given['subject']}")

    def _get(self, path: str, what: str) -> dict[str, Any]:
        if path in self._found:
            return self._found[path]
        if time.monotonic() - self._absent.get(path, -ABSENT_SECONDS) < ABSENT_SECONDS:
            raise ValueError(f"the schema registry has no {what}")
        status, text = self._ask(path)
        if status == 404:
            self._absent[path] = time.monotonic()
            raise ValueError(f"the schema registry has no {what}")
        if status != 200:
            raise self._refusal(f"answers {status} for {what}: {_message(text)}")
        try:
            found = dict(json.loads(text))
            kind = found.get("schemaType") or "AVRO"
            str(found["schema"])
        except (ValueError, TypeError, KeyError):
            raise self._refusal(f"answers something else than a schema for {what}") from None
        if kind != self.kind:
            raise ValueError(f"{what} is {kind}, and `stream.format` says {self.kind}")
        self._found[path] = found
        return found

    def _ask(self, path: str) -> tuple[int, bytes]:
        try:
            import urllib3
        except ImportError:
            raise ConfigError(
                "a schema registry needs the package urllib3",
                where="config key stream.format",
                next_step="pip install 'noria[registry]'",
            ) from None
        if self._pool is None:
            retries = urllib3.Retry(
                total=4,
                backoff_factor=0.25,
                status_forcelist=(429, 500, 502, 503, 504),
                raise_on_status=False,
            )
            trust = {} if self._ca is None else {"ca_certs": self._ca}
            self._pool = urllib3.PoolManager(timeout=SECONDS, retries=retries, **trust)
        query = "?format=serialized" if self.kind == "PROTOBUF" else ""
        try:
            answer = self._pool.request("GET", f"{self.url}{path}{query}", headers=self._headers)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._refusal(f"does not answer: {type(error).__name__}") from None
        return answer.status, answer.data

    def _refusal(self, what: str) -> DataError:
        return DataError(
            f"the schema registry {what}",
            where=shown(self.url),
            next_step="correct `stream.format`, its credentials or the registry, then run again; no event is lost",
        )


def split(value: bytes) -> tuple[int, bytes]:
    """The number of the schema of a message, and what follows it.

    Raises:
      ValueError: it does not begin as the wire format says.
    """
    if len(value) < 5 or value[0]:
        raise ValueError("it does not begin with a zero byte and the number of a schema")
    return struct.unpack_from(">I", value, 1)[0], value[5:]


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return "no message"
