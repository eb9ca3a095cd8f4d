"""Every fixture that more than one file uses. What imports TensorFlow or kfp is imported where it is used."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.project import Project, flights_project

if TYPE_CHECKING:
    from tests.contract.home.places import Place
    from tests.contract.kubeflow_api.noria import Noria
    from tests.contract.kubeflow_api.server import KubeflowApi
    from tests.helpers.server import Running


_homes = itertools.count()


@pytest.fixture
def flights(tmp_path: Path) -> Project:
    """A fresh project with the flights of 2013."""
    return flights_project(tmp_path)


@pytest.fixture(scope="session")
def bucketed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a project whose preprocessing_fn is `bucketed.preprocessing_fn`."""
    from tests.helpers import training

    folder = tmp_path_factory.mktemp("project")
    (folder / "bucketed.py").write_text(training.BUCKETED)
    return str(folder)


@pytest.fixture(scope="session")
def week1(tmp_path_factory: pytest.TempPathFactory, bucketed: str) -> Path:
    """1,500 flights of the first week, with their own graph."""
    from tests.helpers import training

    folder = tmp_path_factory.mktemp("week1")
    return training.lay_out(folder, 1, 1, 1500, "bucketed.preprocessing_fn", bucketed)


@pytest.fixture
def api() -> Iterator[KubeflowApi]:
    """The server of Kubeflow's API; at the end, no request may have broken the contract."""
    from tests.contract.kubeflow_api.server import KubeflowApi

    with KubeflowApi() as server:
        yield server
    assert [] == server.violations


@pytest.fixture
def noria(api: KubeflowApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noria:
    """The command line in a project whose cluster is `api`."""
    from noria.pipeline.runners.kubeflow import connection
    from tests.contract.kubeflow_api.noria import Noria

    monkeypatch.setenv("HOME", str(tmp_path))  # kfp looks for its context there
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setitem(connection.LEAST, "poll", 0.01)  # a test's server may be asked often
    return Noria(
        tmp_path,
        {
            "NORIA_KUBEFLOW_HOST": api.host,
            "NORIA_KUBEFLOW_POLL": "0.01",
            "NORIA_KUBEFLOW_TIMEOUT": "20",
            "NORIA_KUBEFLOW_RETRIES": "1",
        },
    )


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the models in small_models.py, which a process with TensorFlow writes once."""
    folder = tmp_path_factory.mktemp("models")
    program = Path(__file__).parent / "unit" / "serving" / "small_models.py"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, str(program), str(folder)], check=True, env=environment)
    return folder


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[Running]]:
    """Starts a server."""
    from tests.helpers import server

    return server.serving


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for localhost, and its key."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(folder / "ca.pem"), str(folder / "key.pem")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server."""
    from tests.contract.home import places

    with places.s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture(scope="session")
def google(s3: str) -> Iterator[str]:
    """The URL of a server in place of Google's."""
    from tests.contract.home import places

    with places.google_server(s3) as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def home_kind(request: pytest.FixtureRequest) -> str:
    """Where `new_home` makes a home: `folder`, `s3` or `gs`."""
    return request.param


@pytest.fixture
def new_home(
    home_kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Place]:
    """Makes an empty home with each call."""
    from tests.contract.home import places

    # A kill loses nothing that the kernel has; a disk that is busy would take minutes of the suite.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    server = "" if home_kind == "folder" else request.getfixturevalue("s3")
    for name, value in places.environment(server).items():
        monkeypatch.setenv(name, value)
    if home_kind == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("google"))

    def make() -> Place:
        number = next(_homes)
        folder = tmp_path / str(number)
        folder.mkdir()
        if not server:
            return places.Folder(folder)
        return places.ObjectStore(folder, server, f"home-{number}", home_kind)

    return make
