"""A web address that gets model updates by POST. `updates: [{webhook: {url: https://...}}]`."""

from pathlib import Path
from typing import Any

from noria.core.errors import ConfigError, DeliveryError
from noria.ingestion.kafka_settings import value_of
from noria.ingestion.source_secrets import hidden, shown
from noria.pipeline.updates.targets.base import Target

__all__ = ["Webhook"]

SECONDS = 10.0
_KEY = "updates.webhook"


class Webhook(Target):
    """Posts to an address. `given` is the address, or has

    - `url`: the address, or `{env: NAME}`, `{file: PATH}` if it contains a secret;
    - `token`: `{env: NAME}` or `{file: PATH}`, sent as `Authorization: Bearer`.
    """

    def __init__(self, given: Any, folder: Path):
        super().__init__(given, folder)
        values = {"url": given} if isinstance(given, str) else dict(given or {})
        url, token = values.pop("url", None), values.pop("token", None)
        if values or url is None:
            raise ConfigError(
                f"a webhook must have `url` and optionally `token`, got {', '.join(values) or 'other'}",
                where=f"config key {_KEY}",
                next_step="write `- webhook: {url: https://...}`",
            )
        self.url = str(value_of("url", url, folder, _KEY))
        self.token = None if token is None else str(value_of("token", token, folder, _KEY))
        try:
            import urllib3
        except ImportError:
            raise ConfigError(
                "a webhook needs the package urllib3",
                where=f"config key {_KEY}",
                next_step="pip install 'noria[updates]'",
            ) from None
        self._errors = urllib3.exceptions.HTTPError
        self._pool = urllib3.PoolManager(
            timeout=SECONDS,
            retries=urllib3.Retry(
                total=2,
                backoff_factor=0.5,
                redirect=False,
                status_forcelist=(429, 500, 502, 503, 504),
                allowed_methods={"POST"},  # the event's id lets the receiver drop what comes twice
                raise_on_status=False,
            ),
        )

    @property
    def name(self) -> str:
        return f"webhook {shown(self.url)}"

    def send(self, event: bytes) -> None:
        headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            status = self._pool.request("POST", self.url, body=event, headers=headers).status
            problem = None if 200 <= status < 300 else f"it answered {status}"
        except self._errors as error:
            problem = hidden(error, [self.url, self.token])
        if problem is not None:
            raise DeliveryError(
                f"the webhook did not take an update: {problem}",
                where=shown(self.url),
                next_step="see that it answers 2xx; `noria updates` sends what is missing",
            )

    def close(self) -> None:
        self._pool.clear()
