"""kfp's client over a transport that times out, tries again, and says in words what went wrong.

kfp waits for ever, shows a traceback for a wrong host, and takes a login page for an answer. All its requests go
through one object, `rest_client`; ours takes its place and turns every failure into a `ClusterError`.
"""

import contextlib
import io
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import kfp
import kfp_server_api
import urllib3
from kfp.client.token_credentials_base import TokenCredentialsBase
from kfp_server_api import rest
from urllib3 import exceptions

from noria.core.errors import ClusterError
from noria.pipeline.runners.kubeflow.connection import FORWARD, Connection

logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # what it tries again, it need not tell
CONNECT_SECONDS = 10.0
# Only what may be repeated without starting a second run; a refused connection is tried again for all.
REPEATABLE = frozenset({"GET", "HEAD", "DELETE"})
PASSING = (429, 500, 502, 503, 504)
AUDIENCE = "pipelines.kubeflow.org"  # Kubeflow Pipelines takes no token that was made for another
_DONE_ALL_THE_SAME = "see whether it was done all the same: `noria runs`, `noria schedule list`"


class _Token(TokenCredentialsBase):
    """The bearer token of each request, read anew."""

    def __init__(self, connection: Connection):
        self._token = connection.token

    def refresh_api_key_hook(self, config: Any) -> None:
        if self._token is not None:
            config.api_key["authorization"] = self._token.read()


class _Transport(rest.RESTClientObject):
    """Sends a request; what fails becomes a `ClusterError` that says what, where and what next."""

    def __init__(self, configuration: Any, connection: Connection):
        configuration.retries = urllib3.Retry(
            total=None,
            connect=min(2, connection.retries),
            read=connection.retries,
            status=connection.retries,
            redirect=5,
            other=0,  # a certificate does not get better
            backoff_factor=0.5,
            status_forcelist=PASSING,
            allowed_methods=REPEATABLE,
            raise_on_status=False,
            respect_retry_after_header=False,  # an hour of silence is no answer; ours doubles from half a second
        )
        super().__init__(configuration)
        self._connection = connection

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        kwargs["_request_timeout"] = (CONNECT_SECONDS, self._connection.timeout)
        if self._connection.cookie is not None:  # read anew, like the token
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
            "the host answers with a web page, not with the API: a login page, or a wrong path",
            where=self._connection.host,
            next_step="give a token or a session cookie (--token-file, --cookie-file); "
            "the API is often under /pipeline; `curl HOST/apis/v2beta1/healthz` must answer JSON",
        )

    def _refused(self, error: Any, method: str, url: str) -> NoReturn:
        status = int(error.status or 0)
        said = self._said(error.body)
        what, step = self._meaning(status, method)
        raise ClusterError(
            f"{what}: {said}" if said else what,
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
                f"the server does not know us: the {secret.source} is wrong or has expired"
                if secret
                else "the server wants to know who asks, and there is no token and no cookie",
                f"get a new one (`kubectl create token SERVICE_ACCOUNT --audience={AUDIENCE}`, or log in again) "
                "and give it: --token-file, NORIA_KUBEFLOW_TOKEN, --cookie-file or NORIA_KUBEFLOW_COOKIE",
            )
        if status == 403:
            namespace = self._connection.namespace
            return (
                f"this is forbidden to us{f' in namespace {namespace}' if namespace else ''}",
                "ask for the right to it (a RoleBinding), or name your own namespace: --namespace",
            )
        if status == 404:
            return (
                "this is not there",
                "see to host and path; the server must be Kubeflow Pipelines 2.x",
            )
        if status == 409:
            return (
                "something of that name is there already, where we may not see it",
                "delete it there, or change `name` in the project's file",
            )
        if status in PASSING:
            step = "do this again later; `kubectl logs -n kubeflow deploy/ml-pipeline` says more"
            if method in REPEATABLE:
                return f"the server failed ({status}), {self._connection.retries + 1} times in a row", step
            return f"the server failed ({status})", f"{_DONE_ALL_THE_SAME}; {step}"
        return f"the server refuses this ({status})", "correct what it names"

    def _unreachable(self, error: Exception, method: str) -> NoReturn:
        causes = list(_causes(error))
        text = " ".join(map(str, causes)).lower()
        if "too many redirects" in text:
            raise self._no_api() from None
        passing = False
        if any(isinstance(cause, exceptions.SSLError) for cause in causes):
            what, step = _insecure(text)
        elif any(isinstance(cause, socket.gaierror) for cause in causes):
            what, step = "there is no host of this name", "correct the host; is the VPN up?"
            passing = "temporary failure" in text
        elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
            what, step = "nothing listens there", f"correct host and port; is `{FORWARD}` running?"
            passing = True
        elif any(isinstance(cause, exceptions.TimeoutError) for cause in causes):
            what = f"no answer within {self._connection.timeout:g} seconds"
            step = "do this again later, or allow more: NORIA_KUBEFLOW_TIMEOUT"
            passing = True
        else:
            deepest = [cause for cause in causes if isinstance(cause, (OSError, exceptions.HTTPError))][-1]
            what = f"the connection broke: {self._without_secrets(str(deepest))}"
            step = "do this again; does the server speak https? then write https://"
            passing = True
        if method not in REPEATABLE and passing and "nothing listens" not in what:
            step = f"{_DONE_ALL_THE_SAME}; {step}"
        raise ClusterError(what, where=self._connection.host, next_step=step, passing=passing) from None

    def _said(self, body: Any) -> str:
        """The server's own words: the first line, at most 300 letters; never a page."""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
        with contextlib.suppress(ValueError):
            answer = json.loads(text)
            if isinstance(answer, dict):
                said = (answer.get(key) for key in ("message", "error_message", "error"))
                text = next((str(each) for each in said if each), "")
        line = next(iter(text.strip().splitlines()), "")
        return "" if line.startswith("<") else self._without_secrets(line[:300])

    def _without_secrets(self, text: str) -> str:
        for secret in (self._connection.token, self._connection.cookie):
            with contextlib.suppress(Exception):
                text = text.replace(secret.read(), "***") if secret is not None else text
        return text


class Client(kfp.Client):
    """kfp's client with our transport, which is in place before the first request."""

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
        """The server's health. kfp's constructor asks for it, and would ask five times, whatever the answer."""
        self._use_transport()
        return super().get_kfp_healthz(sleep_duration)

    def set_user_namespace(self, namespace: str) -> None:
        """The pod's own namespace, which kfp finds where several users share a cluster; it would write it down."""
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
    """Hides `KF_PIPELINES_*`, which kfp puts before what it is given: another host, or Google's credentials."""
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
        return "the server does not speak https there", "write http://, or correct the port"
    if "mismatch" in text or "doesn't match" in text or "is not valid for" in text:
        return "the server's certificate is for another name", "use the name that the certificate is for"
    if "has expired" in text:
        return "the server's certificate has expired", "have it renewed"
    if "verify failed" in text or "verify_failed" in text:
        return (
            "the server's certificate is signed by nobody known here (self-signed, or a company's own authority)",
            "give the certificate that signed it: --ca-file, NORIA_KUBEFLOW_CA_FILE or `kubeflow.ca_file`",
        )
    return "the encrypted connection failed", "see to host, port and certificates"
