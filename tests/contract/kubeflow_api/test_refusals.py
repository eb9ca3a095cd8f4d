"""What can go wrong between Noria and the cluster: each error says where and what to do next; exit code 1."""

import dataclasses
import json
import os
import socket
from pathlib import Path

import kfp
import pytest

from noria.core.errors import ClusterError
from noria.pipeline.runners.kubeflow.connection import Connection, Secret
from noria.pipeline.runners.kubeflow.follow import follow
from noria.pipeline.runners.kubeflow.kfp_client import Cluster
from noria.pipeline.runners.kubeflow.records import Run

from .noria import Noria
from .server import Fault, KubeflowApi

SECRET = "eyJhbGciOi.very-secret"


def test_token(noria: Noria, api: KubeflowApi, tmp_path: Path) -> None:
    """A token goes with every request; without one, or with a wrong one, the 401 says where to give it."""
    api.token = SECRET
    assert "there is no token and no cookie" in noria.refused("runs")
    (tmp_path / "token").write_text("old\n")
    said = noria.refused("runs", "--token-file", str(tmp_path / "token"))
    assert "the token file is invalid or has expired" in said
    assert "--audience=pipelines.kubeflow.org" in said
    (tmp_path / "token").write_text(f"{SECRET}\n")
    noria.submit("--token-file", str(tmp_path / "token"))
    noria.environment["NORIA_KUBEFLOW_TOKEN"] = SECRET
    noria("runs")


def test_cookie(noria: Noria, api: KubeflowApi) -> None:
    """A session cookie does as well."""
    api.cookie = "authservice_session=abc"
    assert "401" in noria.refused("runs") or "no cookie" in noria.refused("runs")
    noria.environment["NORIA_KUBEFLOW_COOKIE"] = api.cookie
    noria("runs")


@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_renewed_secret(api: KubeflowApi, tmp_path: Path, kind: str) -> None:
    """A token or cookie in a file is read again for each request: Kubernetes renews the first, a person the second."""
    file = tmp_path / kind
    file.write_text("session=first")
    setattr(api, kind, "session=first")
    cluster = Cluster(Connection(api.host, "rides", **{kind: Secret(f"{kind} file", file=file)}))
    cluster.runs(1)
    file.write_text("session=second")
    setattr(api, kind, "session=second")
    cluster.runs(1)


def test_kfps_own_settings(
    noria: Noria, api: KubeflowApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kfp's context file and environment, made for another host, add no cookie, header, namespace or login."""
    context = tmp_path / "context.json"
    settings = {"namespace": "theirs", "client_authentication_cookie": f"session={SECRET}"}
    header = {"client_authentication_header_name": "x-goog", "client_authentication_header_value": SECRET}
    context.write_text(json.dumps({**settings, **header}))
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(context))
    theirs = {
        "KF_PIPELINES_IAP_OAUTH2_CLIENT_ID": "id.apps.googleusercontent.com",
        "KF_PIPELINES_ENDPOINT": "http://elsewhere.invalid",
    }
    noria.environment |= theirs
    noria("runs")
    noria.environment["NORIA_KUBEFLOW_TOKEN"] = api.token = "ours"
    noria.submit()
    assert SECRET not in str(api.headers)
    assert [] == [asked for _, asked in api.requests if asked.get("namespace")]
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    Cluster(Connection(api.host, "rides", token=Secret("token", value="ours")))
    assert theirs.items() <= os.environ.items()  # hidden from kfp, not taken away


def test_secrets_stay_secret(noria: Noria, api: KubeflowApi) -> None:
    """If a server repeats the token in its answer, our error does not show it; no repr shows it."""
    noria.environment["NORIA_KUBEFLOW_TOKEN"] = SECRET
    api.faults = [Fault("list_experiments", 403, said=f"token {SECRET} may not")]
    said = noria.refused("runs")
    assert "may not" in said
    assert SECRET not in said
    assert SECRET not in repr(Connection("h", "e", token=Secret("NORIA_KUBEFLOW_TOKEN", value=SECRET)))


def test_forbidden(noria: Noria, api: KubeflowApi) -> None:
    """403 names the namespace and what to ask for."""
    api.forbidden = {"theirs"}
    said = noria.refused("runs", "--namespace", "theirs")
    assert "permission denied (403) in namespace theirs" in said
    assert "--namespace" in said


def test_several_users(noria: Noria, api: KubeflowApi) -> None:
    """Kubeflow with several users and no namespace given: refused at once."""
    api.multi_user = True
    assert "NORIA_KUBEFLOW_NAMESPACE" in noria.refused("runs")
    noria("runs", "--namespace", "mine")
    noria.submit("--namespace", "mine")
    assert "mine" == api.experiments[0]["namespace"]
    noria("runs", "--namespace", "kubeflow")  # kfp's word for "none given" is a namespace too


def test_a_pods_own_namespace(
    noria: Noria, api: KubeflowApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pod, where Kubeflow has several users, everything goes to the pod's namespace, pipelines too."""
    (tmp_path / "namespace").write_text("team")
    monkeypatch.setattr(kfp.Client, "_NAMESPACE_PATH", str(tmp_path / "namespace"))
    api.multi_user = True
    noria.submit()
    said = {name: asked.get("namespace") for name, asked in api.requests}
    for operation in ("list_pipelines", "upload_pipeline", "list_experiments", "create_experiment"):
        assert "team" == said[operation], operation


def test_conflict(noria: Noria, api: KubeflowApi) -> None:
    """409: a pipeline of that name, which we do not see in the list."""
    api.faults = [Fault("upload_pipeline", 409, said="the name rides already exists")]
    said = noria.refused("submit", "--package", str(noria.package))
    assert "the name rides already exists" in said
    assert "change `name`" in said


def test_failing_server(noria: Noria, api: KubeflowApi) -> None:
    """A request that got 500 is repeated if that is safe, then reported; a run is never started twice."""
    api.faults = [Fault("list_experiments", 500, 1)]
    noria("runs")
    api.faults = [Fault("list_experiments", 500, 9, said="database is down")]
    said = noria.refused("runs")
    assert "2 times in a row" in said
    assert "database is down" in said
    api.faults = [Fault("create_run", 500, 9)]
    said = noria.refused("submit", "--package", str(noria.package))
    assert "`noria runs`" in said
    assert 1 == api.calls.count("create_run")


def test_dropped_connection(noria: Noria, api: KubeflowApi) -> None:
    """A broken connection is opened again if that is safe; else it is reported, and the run is not repeated."""
    api.faults = [Fault("health", "drop", 1), Fault("list_experiments", "cut", 1)]
    noria("runs")
    api.faults = [Fault("create_run", "drop", 1)]
    said = noria.refused("submit", "--package", str(noria.package))
    assert "the connection was lost" in said
    assert 1 == api.calls.count("create_run")


def test_slow_server(noria: Noria, api: KubeflowApi) -> None:
    """No answer in time: the error has the seconds, and says how to allow more."""
    noria.environment |= {"NORIA_KUBEFLOW_TIMEOUT": "0.2", "NORIA_KUBEFLOW_RETRIES": "0"}
    api.faults = [Fault("list_experiments", "slow", 1)]
    said = noria.refused("runs")
    assert "no answer within 0.2 seconds" in said
    assert "NORIA_KUBEFLOW_TIMEOUT" in said


@pytest.mark.parametrize("path", ["", "/wrong"])
def test_web_page(noria: Noria, api: KubeflowApi, path: str) -> None:
    """A host that answers HTML, by a login page or by a wrong path, is not taken for the API."""
    noria.environment["NORIA_KUBEFLOW_HOST"] = api.host + path
    api.faults = [Fault("health", "login", 9)]
    assert "a web page, not with the API" in noria.refused("runs")
    api.faults = [Fault("health", "redirect", 99)]
    assert "a web page, not with the API" in noria.refused("runs")


def test_wrong_host(noria: Noria) -> None:
    """A name that nobody has, a port where nobody listens, no host at all, and what is not an address."""
    assert "the host name does not exist" in noria.refused("runs", "--host", "http://kubeflow.invalid")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = noria.refused("runs", "--host", f"http://localhost:{port}")
    assert "connection refused" in said
    assert "kubectl port-forward" in said
    del noria.environment["NORIA_KUBEFLOW_HOST"]
    assert "NORIA_KUBEFLOW_HOST" in noria.refused("runs")
    assert "must be an address" in noria.refused("runs", "--host", "ftp://files")
    said = noria.refused("runs", "--host", f"https://me:{SECRET}@kubeflow")
    assert "must not contain user and password" in said
    assert SECRET not in said


def test_package(noria: Noria, api: KubeflowApi, tmp_path: Path) -> None:
    """A package that is missing, or is none, is refused before anything is uploaded."""
    assert "cannot be used" in noria.refused("submit", "--package", str(tmp_path / "no.yaml"))
    (tmp_path / "other.yaml").write_text("kind: Pod\n")
    assert "noria compile" in noria.refused("submit", "--package", str(tmp_path / "other.yaml"))
    assert "upload_pipeline" not in api.calls


def test_certificates(noria: Noria, certificate: tuple[str, str], tmp_path: Path) -> None:
    """A self-signed server is refused, and trusted with its CA file; another name than its own is not."""
    (tmp_path / "not.pem").write_text("no certificate")
    with KubeflowApi(certificate) as secure:
        noria.environment["NORIA_KUBEFLOW_HOST"] = secure.host
        assert "--ca-file" in noria.refused("runs")
        noria("runs", "--ca-file", certificate[0])
        elsewhere = secure.host.replace("localhost", "127.0.0.1")
        assert "another name" in noria.refused("runs", "--ca-file", certificate[0], "--host", elsewhere)
        assert "no certificate in PEM" in noria.refused("runs", "--ca-file", str(tmp_path / "not.pem"))
        assert "cannot be used" in noria.refused("runs", "--ca-file", str(tmp_path / "none.pem"))
        plain = secure.host.replace("https", "http")
        assert "https://" in noria.refused("runs", "--host", plain)
    assert [] == secure.violations


def test_https_to_a_plain_server(noria: Noria, api: KubeflowApi) -> None:
    """https:// to a server that speaks http: the error says so."""
    assert "does not use https" in noria.refused("runs", "--host", api.host.replace("http", "https"))


def test_gives_up_when_the_server_stays_away(api: KubeflowApi) -> None:
    """A server that is gone for longer than the patience: the error says that the run continues."""
    cluster = Cluster(Connection(api.host, "rides", poll=0.01, retries=0))
    api.faults = [Fault("get_run", "drop", 99)]
    run = Run("gone", "gone", "RUNNING", None, None, None, "link")
    with pytest.raises(ClusterError, match="the run continues") as caught:
        list(follow(cluster, run, patience=0.05))
    assert dataclasses.asdict(run)["link"] == caught.value.where
