"""A server with an access file, by both protocols, with and without TLS. Its model directory is empty: it needs no
TensorFlow.
"""

import datetime
import gzip
import ipaddress
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from noria.core.errors import ServingError
from noria.pipeline.cli import app
from noria.serving import client
from noria.serving.audit_log import verify
from noria.serving.client import Credentials
from noria.serving.protos import get_model_status_pb2, model_management_pb2
from tests.unit.serving.test_access import hashed


class Authority:
    """A CA, and what it signs."""

    def __init__(self, folder: Path, name: str):
        self.folder, self.file = folder, folder / f"{name}.pem"
        self.key, self.name = ec.generate_private_key(ec.SECP256R1()), _name(name)
        made = _certificate(self.name, self.key, self.name, self.key, ca=True)
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(_name(name), key, self.name, self.key)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject, key, issuer, issuer_key, ca: bool = False) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(hosts, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


KEYS = [
    {"name": "shop", "sha256": hashed("one"), "roles": "predict", "limits": {"body_mib": 0.01}},
    {"name": "ops", "sha256": hashed("two"), "roles": ["predict", "admin"]},
    {
        "name": "slow",
        "sha256": hashed("three"),
        "roles": "predict",
        "limits": {"requests_per_second": 0.001, "burst": 2},
    },
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "m").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(folder, serving):
    """Without TLS."""
    access = folder / "access.yaml"
    access.write_text(yaml.safe_dump({"keys": KEYS, "open_metrics": True}))
    with serving(
        str(folder / "m"), "--access", str(access), "--audit-log", str(folder / "audit.jsonl")
    ) as running:
        yield running


def ask(server, token: str, path: str = "/v1/models/m", body: object = None) -> int:
    return server.ask(path, body, Authorization=f"Bearer {token}")[0]


def call(channel: grpc.Channel, token: str = "", reload: bool = False, padding: int = 0) -> grpc.StatusCode:
    """The code of a status request, or of a reload."""
    method, request = "GetModelStatus", get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m" * (padding or 1)
    if reload:
        method, request = "HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.SetInParent()
    try:
        # Without the generated stub, which imports TensorFlow.
        channel.unary_unary(f"/tensorflow.serving.ModelService/{method}")(
            request.SerializeToString(), 10, [("authorization", f"Bearer {token}")] if token else None
        )
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def test_rest_asks_for_a_key(server) -> None:
    """401 without one, with the scheme; 404 for one that is known, as there is no model; the probes are open."""
    status, answer = server.ask("/v1/models/m")
    assert (401, "send an API key or a token: `Authorization: Bearer ...`") == (status, answer["error"])
    assert 401 == ask(server, "wrong")
    assert 404 == ask(server, "one")
    assert 404 == server.ask("/v1/models/m", x_api_key="one")[0]
    assert [200, 503] == [server.ask(path)[0] for path in ("/live", "/ready")]
    assert 200 == server.ask("/monitoring/prometheus/metrics")[0]
    assert (401, 200) == (server.ask("/openapi.json")[0], ask(server, "one", "/openapi.json"))


def test_the_admin_api_asks_for_its_role(server) -> None:
    """Who may roll out is who has the role `admin`; there is no rollout yet."""
    assert [401, 403, 200] == [ask(server, token, "/admin/rollouts/m") for token in ("wrong", "one", "two")]


def test_a_request_has_a_size_and_a_client_a_rate(server) -> None:
    """413 for a body that is too large for its client, also packed; 429 for one request too many."""
    large = b'{"instances":[' + b" " * 20_000 + b"1]}"
    assert 413 == ask(server, "one", "/v1/models/m:predict", large)
    headers = {"Authorization": "Bearer one", "Content-Encoding": "gzip"}
    assert 413 == server.ask("/v1/models/m:predict", gzip.compress(large), **headers)[0]
    assert 404 == ask(server, "two", "/v1/models/m:predict", large)
    assert [404, 404, 429] == [ask(server, "three") for _ in range(3)]


def test_grpc_asks_for_a_key(server) -> None:
    """The same by gRPC; what loads models needs the role `admin`, and is in the audit log with who did it."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        assert grpc.StatusCode.UNAUTHENTICATED == call(channel)
        assert grpc.StatusCode.NOT_FOUND == call(channel, "one")
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == call(channel, "one", padding=20_000)
        assert grpc.StatusCode.PERMISSION_DENIED == call(channel, "one", reload=True)
        assert grpc.StatusCode.OK == call(channel, "two", reload=True)


def test_the_audit_log_says_who_did_what(server, folder) -> None:
    """After the requests above it holds together, and has the start, a refusal and the reload."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        call(channel, "one", reload=True)
        call(channel, "two", reload=True)
    verify(folder / "audit.jsonl")
    entries = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert "start" == entries[0]["event"]
    found = {(each["event"], each.get("client"), each.get("reason")) for each in entries}
    assert {("refused", "shop", "PERMISSION_DENIED"), ("reload", "ops", None)} <= found


def test_the_client_shows_who_it_is(server, folder) -> None:
    """A token by both protocols, from Python and from a file or the environment of `noria predict`."""
    for url in (f"http://127.0.0.1:{server.rest}", f"grpc://127.0.0.1:{server.grpc}"):
        for token, text in (("", "send an API key"), ("two", "Could not find|not found")):
            with pytest.raises(ServingError, match=text):
                client.connect(url, "m", credentials=Credentials(token=token)).signatures()
    (folder / "token").write_text("two\n")
    (folder / "rows.csv").write_text("x\n1\n")
    arguments = ["predict", str(folder / "rows.csv"), "--url", f"http://127.0.0.1:{server.rest}"]
    for more, environment in (
        (["--token-file", str(folder / "token")], {}),
        ([], {"NORIA_SERVING_TOKEN": "two"}),
    ):
        done = CliRunner().invoke(app.app, [*arguments, *more], env=environment)
        assert (1, True) == (done.exit_code, "404" in done.output), done.output


def test_a_certificate_admits_by_both_protocols(folder, serving) -> None:
    """With mutual TLS: no certificate and one of another CA do not connect, a known name has its roles."""
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    certificate, key = ours.sign("server")
    known, unknown, foreign = (
        ours.sign("shop.example.org"),
        ours.sign("other"),
        theirs.sign("shop.example.org2"),
    )
    access = folder / "certificates.yaml"
    access.write_text(yaml.safe_dump({"certificates": [{"name": "shop.example.org", "roles": "predict"}]}))
    flags = ["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", ours.file, "--access", access]
    with serving(str(folder / "m"), *map(str, flags)) as running:
        for url in (f"https://127.0.0.1:{running.rest}", f"grpcs://127.0.0.1:{running.grpc}"):
            for files, text in (
                (known, "Could not find any versions|Servable not found"),
                (unknown, "the certificate of other is not known here"),
                (foreign, "does not answer"),
                ((None, None), "does not answer"),
            ):
                asked = client.connect(url, "m", timeout=5, credentials=Credentials(ours.file, "", *files))
                with pytest.raises(ServingError, match=text):
                    asked.signatures()
                asked.close()


def test_an_open_door_must_be_wanted(folder) -> None:
    """Beyond this machine the server starts with an access file, a CA of clients or --insecure only."""
    runner = CliRunner()
    done = runner.invoke(app.app, ["serve", str(folder / "m"), "--host", "0.0.0.0"])
    assert (1, True) == (
        done.exit_code,
        "every client that reaches 0.0.0.0 could send requests" in done.output,
    )
    limits = folder / "limits.yaml"
    limits.write_text("limits: {requests_per_second: 5}\n")
    done = runner.invoke(app.app, ["serve", str(folder / "m"), "--host", "::", "--access", str(limits)])
    assert (1, True) == (done.exit_code, "--insecure" in done.output)
    limits.write_text("certificates: [{name: a, roles: admin}]\n")
    done = runner.invoke(app.app, ["serve", str(folder / "m"), "--access", str(limits)])
    assert (1, True) == (done.exit_code, "need --tls-client-ca" in done.output)


def test_root_becomes_another_user() -> None:
    """--user: the process has the user's id and groups, no capabilities, and its programs gain no rights."""
    program = (
        "from noria.serving import privileges as p; p.drop('nobody'); print(open('/proc/self/status').read())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if os.geteuid() != 0:
        assert "only root can become nobody" in done.stderr
        return
    status = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    nobody = pwd.getpwnam("nobody")
    assert ({str(nobody.pw_uid)}, {str(nobody.pw_gid)}) == (
        set(status["Uid"].split()),
        set(status["Gid"].split()),
    )
    assert ("1", "0" * 16) == (status["NoNewPrivs"], status["CapEff"])
