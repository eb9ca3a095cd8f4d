"""kfp's client over a transport that times out, retries, and explains errors.

kfp has no time-outs, shows a traceback for a wrong host, and takes a login page for an answer. All its requests go
through one object, `rest_client`; this one replaces it and turns every failure into a `ClusterError`.
"""

import contextlib
import io
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import kfp
import kfp_server_api
import urllib3
from kfp.client.token_credentials_base import TokenCredentialsBase
from kfp_server_api import rest
from urllib3 import exceptions

from noria.core.errors import ClusterError
from noria.pipeline.runners.kubeflow.connection import FORWARD, Connection

logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it would log every retry
CONNECT_SECONDS = 10.0
# Methods that may be repeated without starting a second run; a refused connection is retried for all.
REPEATABLE = frozenset({"GET", "HEAD", "DELETE"})
PASSING = (429, 500, 502, 503, 504)
AUDIENCE = "pipelines.kubeflow.org"  # Kubeflow Pipelines accepts only tokens for this audience
_MAY_BE_DONE = "check whether it was done: `noria runs`, `noria schedule list`"


class _Token(TokenCredentialsBase):
    """The bearer token, read again for each request."""

    def __init__(self, connection: Connection):
        self._token = connection.token

    def refresh_api_key_hook(self, config: Any) -> None:
        if self._token is not None:
            config.api_key["authorization"] = self._token.read()


class _Transport(rest.RESTClientObject):
    """Sends a request; a failure becomes a `ClusterError` that says what, where and what next."""

    def __init__(self, configuration: Any, connection: Connection):
        configuration.retries = urllib3.Retry(
            total=None,
            connect=min(2, connection.retries),
            read=connection.retries,
            status=connection.retries,
            redirect=5,
            other=0,  # retrying does not help a certificate
            backoff_factor=0.5,
            status_forcelist=PASSING,
            allowed_methods=REPEATABLE,
            raise_on_status=False,
            respect_retry_after_header=False,  # the server may ask for an hour; this doubles from half a second
        )
        super().__init__(configuration)
        self._connection = connection

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        kwargs["_request_timeout"] = (CONNECT_SECONDS, self._connection.timeout)
        if self._connection.cookie is not None:  # read again, like the token
            kwargs["headers"] = {**(kwargs.get("headers") or {}), "Cookie": self._connection.cookie.read()}
        try:
            response = super().request(method, url, *args, **kwargs)
        except kfp_server_api.ApiException as error:
            self._refused(error, method, url)
        except (exceptions.HTTPError, OSError) as error:
            self._unreachable(error, method)
        if not _is_object(response.data):
            raise self._no_api()
        return response

    def _no_api(self) -> ClusterError:
        return ClusterError(
            "the host answers with a web page, not with the API: it is a login page, or the path is wrong",
            where=self._connection.host,
            next_step="give a token or a session cookie (--token-file, --cookie-file); "
            "the API is often under /pipeline; `curl HOST/apis/v2beta1/healthz` must answer JSON",
        )

    def _refused(self, error: Any, method: str, url: str) -> NoReturn:
        status = int(error.status or 0)
        message = self._server_message(error.body)
        what, step = self._meaning(status, method)
        raise ClusterError(
            f"{what}: {message}" if message else what,
            where=f"{method} {url.partition('?')[0]}",
            next_step=step,
            status=status,
            passing=status in PASSING,
        ) from None

    def _meaning(self, status: int, method: str) -> tuple[str, str]:
        """What a status means here, and what to do about it."""
        if status == 401:
            secret = self._connection.token or self._connection.cookie
            return (
                f"authentication failed (401): the {secret.source} is invalid or has expired"
                if secret
                else "authentication failed (401): there is no token and no cookie",
                f"get a new one (`kubectl create token SERVICE_ACCOUNT --audience={AUDIENCE}`, or log in again) "
                "and give it: --token-file, NORIA_KUBEFLOW_TOKEN, --cookie-file or NORIA_KUBEFLOW_COOKIE",
            )
        if status == 403:
            namespace = self._connection.namespace
            return (
                f"permission denied (403){f' in namespace {namespace}' if namespace else ''}",
                "ask for permission (a RoleBinding), or name your namespace: --namespace",
            )
        if status == 404:
            return (
                "not found (404)",
                "check host and path; the server must be Kubeflow Pipelines 2.x",
            )
        if status == 409:
            return (
                "the name exists already (409), in a place that you cannot see",
                "delete it there, or change `name` in the project's file",
            )
        if status in PASSING:
            step = "try again later; `kubectl logs -n kubeflow deploy/ml-pipeline` says more"
            if method in REPEATABLE:
                return f"the server failed ({status}), {self._connection.retries + 1} times in a row", step
            return f"the server failed ({status})", f"{_MAY_BE_DONE}; {step}"
        return f"the server refused the request ({status})", "correct what the message names"

    def _unreachable(self, error: Exception, method: str) -> NoReturn:
        causes = list(_causes(error))
        text = " ".join(map(str, causes)).lower()
        if "too many redirects" in text:
            raise self._no_api() from None
        passing = False
        if any(isinstance(cause, exceptions.SSLError) for cause in causes):
            what, step = _insecure(text)
        elif any(isinstance(cause, socket.gaierror) for cause in causes):
            what, step = "the host name does not exist", "correct the host; check the VPN"
            passing = "temporary failure" in text
        elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
            what, step = (
                "connection refused: nothing listens at this address",
                f"correct host and port; check that `{FORWARD}` is running",
            )
            passing = True
        elif any(isinstance(cause, exceptions.TimeoutError) for cause in causes):
            what = f"no answer within {self._connection.timeout:g} seconds"
            step = "try again later, or set a longer NORIA_KUBEFLOW_TIMEOUT"
            passing = True
        else:
            deepest = [cause for cause in causes if isinstance(cause, (OSError, exceptions.HTTPError))][-1]
            what = f"the connection was lost: {self._without_secrets(str(deepest))}"
            step = "try again; if the server uses https, write https://"
            passing = True
        if method not in REPEATABLE and passing and "nothing listens" not in what:
            step = f"{_MAY_BE_DONE}; {step}"
        raise ClusterError(what, where=self._connection.host, next_step=step, passing=passing) from None

    def _server_message(self, body: Any) -> str:
        """The server's message: its first line, at most 300 characters; never a page."""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
        with contextlib.suppress(ValueError):
            answer = json.loads(text)
            if isinstance(answer, dict):
                messages = (answer.get(key) for key in ("message", "error_message", "error"))
                text = next((str(each) for each in messages if each), "")
        line = next(iter(text.strip().splitlines()), "")
        return "" if line.startswith("<") else self._without_secrets(line[:300])

    def _without_secrets(self, text: str) -> str:
        for secret in (self._connection.token, self._connection.cookie):
            with contextlib.suppress(Exception):
                text = text.replace(secret.read(), "***") if secret is not None else text
        return text


class Client(kfp.Client):
    """kfp's client with this transport, which is in place before the first request."""

    def __init__(self, connection: Connection):
        self._connection = connection
        with quiet(), _without_kfp_environment():
            super().__init__(
                host=connection.host,
                credentials=_Token(connection) if connection.token else None,
                ssl_ca_cert=str(connection.ca_file) if connection.ca_file else None,
            )
        self._use_transport()

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        """The server's health. kfp's constructor asks for it, and without the transport would ask five times."""
        self._use_transport()
        return super().get_kfp_healthz(sleep_duration)

    def run_answer(self, run_id: str, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """A run as the server's JSON: the generated method cannot say `view`, nor its model hold `tasks`."""
        answer = self._healthz_api.api_client.call_api(
            "/apis/v2beta1/runs/{run_id}",
            "GET",
            path_params={"run_id": run_id},
            query_params=list(query),
            header_params={"Accept": "application/json"},
            response_type="object",
            auth_settings=["Bearer"],
            _return_http_data_only=True,
        )
        return dict(answer)

    def as_json(self, model: Any) -> dict[str, Any]:
        """A generated model as the JSON that it was read from; a dictionary as it is."""
        return dict(self._healthz_api.api_client.sanitize_for_serialization(model))

    def set_user_namespace(self, namespace: str) -> None:
        """The pod's namespace, which kfp finds on a cluster of several users; kfp would write it to a file."""
        self._context_setting["namespace"] = namespace

    def _load_context_setting_or_default(self) -> None:
        """kfp would read `~/.config/kfp/context.json`: another host's namespace, cookie and header."""
        self._context_setting = {"namespace": self._connection.namespace or ""}

    def _use_transport(self) -> None:
        api = self._healthz_api.api_client  # one for all services
        if not isinstance(api.rest_client, _Transport):
            api.rest_client = _Transport(self._existing_config, self._connection)


@contextlib.contextmanager
def _without_kfp_environment() -> Iterator[None]:
    """Hides `KF_PIPELINES_*`, which kfp prefers to its arguments: another host, or Google's credentials."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("KF_PIPELINES_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """kfp prints links to standard output, which is for results."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_object(answer: bytes) -> bool:
    try:
        return isinstance(json.loads(answer), dict)
    except ValueError:
        return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, down to the socket's."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or each in seen:
            continue
        seen.append(each)
        yield each
        waiting += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]


def _insecure(text: str) -> tuple[str, str]:
    if "wrong version number" in text or "wrong_version_number" in text or "record layer" in text:
        return "the server does not use https at this port", "write http://, or correct the port"
    if "mismatch" in text or "doesn't match" in text or "is not valid for" in text:
        return "the server's certificate is for another name", "use the name that the certificate is for"
    if "has expired" in text:
        return "the server's certificate has expired", "have it renewed"
    if "verify failed" in text or "verify_failed" in text:
        return (
            "the server's certificate is not signed by a trusted authority (self-signed, or a company's CA)",
            "give the CA certificate: --ca-file, NORIA_KUBEFLOW_CA_FILE or `kubeflow.ca_file`",
        )
    return "the TLS connection failed", "check host, port and certificates"
