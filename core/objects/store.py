"""An object store: Amazon S3, Google Cloud Storage, or any server that speaks S3's protocol. By `obstore`.

One write has a condition: `put_new` makes an object only if there is none (`If-None-Match: *`). Credentials come from
the environment, from the pod's service account or from the machine. `AWS_ENDPOINT_URL` names another S3 server, and
`STORAGE_EMULATOR_HOST`, as for Google's own clients, a server in place of Google's.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noria.core.errors import StoreError

SCHEMES = ("s3://", "gs://")


class ObjectStore:
    """The objects below a URL.

    Args:
      url: `s3://bucket/prefix` or `gs://bucket/prefix`.

    Raises:
      StoreError: obstore is not installed, or the URL cannot be used.
    """

    def __init__(self, url: str):
        self.url = url
        try:
            import obstore
            import obstore.store
        except ImportError as error:
            raise StoreError(
                "a home in an object store needs the package obstore, which is not installed",
                where=url,
                next_step="pip install 'noria[object-store]'",
            ) from error
        self._api: Any = obstore
        options: dict[str, Any] = {"timeout": "10m", "connect_timeout": "10s"}
        account: dict[str, Any] = {}
        endpoint = os.environ.get(
            "AWS_ENDPOINT_URL" if url.startswith("s3://") else "STORAGE_EMULATOR_HOST", ""
        )
        if endpoint.startswith("http://"):
            options["allow_http"] = True
        if endpoint and url.startswith("gs://"):
            key = {"gcs_base_url": endpoint, "disable_oauth": True}
            key |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
            account["service_account_key"] = json.dumps(key)
        retries = {"max_retries": 8, "retry_timeout": datetime.timedelta(minutes=2)}
        opened: Any = obstore.store.from_url
        with self._explained("cannot be opened"):
            self._store = opened(url, client_options=options, retry_config=retries, **account)

    def put_new(self, key: str, data: bytes) -> bool:
        """Makes an object that must not exist yet; False if there is one. Exactly one of two writers gets True."""
        with self._explained("cannot be written"):
            try:
                self._api.put(self._store, key, data, mode="create")
            except self._api.exceptions.AlreadyExistsError:
                return False
        return True

    def put(self, key: str, content: bytes | Path) -> None:
        """Writes an object, or replaces it; readers see it whole or not at all."""
        with self._explained("cannot be written"):
            self._api.put(self._store, key, content)

    def get(self, key: str) -> bytes:
        """An object's bytes.

        Raises:
          FileNotFoundError: there is none.
        """
        with self._explained("cannot be read"):
            return bytes(self._api.get(self._store, key).bytes())

    def download(self, key: str, path: Path) -> None:
        """Writes an object's bytes to a new file.

        Raises:
          FileNotFoundError: there is no such object.
        """
        with self._explained("cannot be read"):
            chunks = self._api.get(self._store, key).stream(min_chunk_size=1 << 20)
            with path.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)

    def list(self, prefix: str, after: str | None = None) -> Iterator[tuple[str, datetime.datetime]]:
        """Key and time of the last change (by the store's clock) of the objects below a prefix.

        Args:
          prefix: a folder's name, which ends with a slash.
          after: keys after this one only.
        """
        with self._explained("cannot be listed"):
            for chunk in self._api.list(self._store, prefix, offset=after):
                for each in chunk:
                    yield each["path"], each["last_modified"]

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects; one that is not there counts as deleted."""
        with self._explained("cannot be changed"):
            if not keys:
                return
            try:
                self._api.delete(self._store, list(keys))
            except FileNotFoundError:  # Google's answer, with which the others are not deleted
                for key in keys:
                    with contextlib.suppress(FileNotFoundError):
                        self._api.delete(self._store, key)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        errors = self._api.exceptions
        try:
            yield
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
            raise StoreError(
                f"the object store refuses this user: it {what}",
                where=self.url,
                next_step="check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the service "
                "account's) and their right to read, write, list and delete below this URL",
            ) from error
        except errors.NotSupportedError as error:
            raise StoreError(
                f"the object store {what}: it has no conditional writes (If-None-Match)",
                where=self.url,
                next_step="use S3, Google Cloud Storage or a server that has them (docs/object-store.md)",
            ) from error
        except (errors.BaseError, ValueError) as error:
            raise StoreError(
                f"the object store {what}: {_reason(error)}",
                where=self.url,
                next_step="check bucket, endpoint (AWS_ENDPOINT_URL), region (AWS_REGION) and the network, "
                "then run again; the last good state is safe",
            ) from error


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return "the bucket does not exist" if "NoSuchBucket" in text else text.split("\n", 1)[0]
