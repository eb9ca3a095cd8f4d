"""Who is admitted: API keys, JSON Web Tokens, certificates, roles, limits."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from noria.core.errors import ConfigError
from noria.serving import access, access_settings, json_web_tokens
from noria.serving.access import Access, Call
from noria.serving.audit_log import AuditLog, verify
from noria.serving.grpc_status import Code, StatusError
from noria.serving.rate_limits import RateLimits

ISSUER, AUDIENCE = "https://issuer.example.org", "noria"


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def written(folder: Path, **settings: Any) -> Path:
    path = folder / "access.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def admitted(door: Access, role: str | None = "predict", token: str = "", **call: str) -> access.Client:
    given = f"Bearer {token}" if token else ""
    return asyncio.run(door.admit(Call(authorization=given, address="10.0.0.7", what="/", **call), role))


def refused(door: Access, role: str | None = "predict", token: str = "", **call: str) -> tuple[Code, str]:
    with pytest.raises(StatusError) as caught:
        admitted(door, role, token, **call)
    return caught.value.code, caught.value.message


def test_a_key_has_roles_and_an_end(tmp_path: Path) -> None:
    """No key, an unknown one and an expired one are 401; a known one without the role is 403."""
    keys = [
        {"name": "shop", "sha256": hashed("one"), "roles": "predict"},
        {"name": "ops", "sha256": hashed("two"), "roles": ["predict", "admin"]},
        {"name": "old", "sha256": hashed("three"), "roles": ["admin"], "expires": "2020-01-31"},
    ]
    door = Access(written(tmp_path, keys=keys), AuditLog(tmp_path / "audit.jsonl"))
    assert "shop" == admitted(door, "predict", "one").name
    assert "shop" == admitted(door, None, api_key="one").name
    assert "ops" == admitted(door, "admin", "two").name
    assert (Code.PERMISSION_DENIED, "shop does not have the role admin") == refused(door, "admin", "one")
    assert (Code.UNAUTHENTICATED, "the API key is not known") == refused(door, "predict", "four")
    assert (Code.UNAUTHENTICATED, "the API key of old has expired") == refused(door, "admin", "three")
    assert Code.UNAUTHENTICATED == refused(door, None)[0]
    door._audit.close()
    assert 2 == verify(tmp_path / "audit.jsonl").entries  # the first of each kind and client


def test_a_key_that_is_removed_is_refused(tmp_path: Path, monkeypatch) -> None:
    """The file is read again when it changes; one that cannot be read changes nothing."""
    monkeypatch.setattr(access, "LOOK_SECONDS", 0.0)
    keys = [{"name": name, "sha256": hashed(name), "roles": "predict"} for name in ("one", "two")]
    path = written(tmp_path, keys=keys)
    door = Access(path)
    admitted(door, token="two")
    path.write_text("keys: [")
    admitted(door, token="two")
    written(tmp_path, keys=keys[:1])
    assert Code.UNAUTHENTICATED == refused(door, token="two")[0]
    admitted(door, token="one")


def test_a_certificate_is_a_client(tmp_path: Path) -> None:
    """Its common name has roles; a token that comes with it counts alone."""
    door = Access(written(tmp_path, certificates=[{"name": "shop.example.org", "roles": "predict"}]))
    assert "shop.example.org" == admitted(door, certificate="shop.example.org").name
    assert Code.PERMISSION_DENIED == refused(door, "admin", certificate="shop.example.org")[0]
    assert (Code.UNAUTHENTICATED, "the certificate of other is not known here") == refused(
        door, certificate="other"
    )
    assert Code.UNAUTHENTICATED == refused(door, token="wrong", certificate="shop.example.org")[0]


class Issuer:
    """Keys of an issuer, and tokens that they sign."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def jwks(self, *kids: str) -> str:
        keys = {
            "r": json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key())),
            "e": json.loads(ECAlgorithm.to_jwk(self.ec.public_key())),
        }
        return json.dumps({"keys": [keys[kid] | {"kid": kid} for kid in kids]})

    def token(self, kid: str = "r", key: Any = None, algorithm: str = "", **claims: Any) -> str:
        key = key or {"r": self.rsa, "e": self.ec}[kid]
        values = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "shop",
            "exp": time.time() + 600,
            "roles": ["predict", "other"],
        } | claims
        values = {name: value for name, value in values.items() if value is not None}
        return jwt.encode(values, key, algorithm or {"r": "RS256", "e": "ES256"}[kid], {"kid": kid})


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def door(tmp_path: Path, issuer: Issuer) -> Access:
    (tmp_path / "jwks.json").write_text(issuer.jwks("r", "e"))
    settings = {"jwks": "jwks.json", "issuer": ISSUER, "audience": AUDIENCE}
    return Access(written(tmp_path, jwt=settings))


def test_tokens_of_both_algorithms(door: Access, issuer: Issuer) -> None:
    """RS256 and ES256 are taken, again from memory; roles are a list or a text, and unknown ones are nothing."""
    for _ in range(2):
        for kid in ("r", "e"):
            assert "shop" == admitted(door, token=issuer.token(kid)).name
    assert "ops" == admitted(door, "admin", issuer.token("e", sub="ops", roles="admin predict")).name
    assert Code.PERMISSION_DENIED == refused(door, "admin", issuer.token())[0]
    assert Code.PERMISSION_DENIED == refused(door, None, issuer.token(roles=["other"]))[0]


def test_wrong_tokens_are_refused(door: Access, issuer: Issuer) -> None:
    """Expired, not yet valid, of another issuer, for another audience, by another key, without an end or a subject."""
    another = rsa.generate_private_key(65537, 2048)
    now = time.time()
    deep = base64.urlsafe_b64encode(b"[" * 20_000).decode()
    wrong = {
        "recursion": f"{deep}.{deep}.{deep}",
        "Signature has expired": issuer.token(exp=now - 60),
        "not yet valid": issuer.token(nbf=now + 600),
        "Invalid issuer": issuer.token(iss="https://other.example.org"),
        "Audience doesn't match": issuer.token(aud="others"),
        "Signature verification failed": issuer.token(key=another),
        'missing the "exp" claim': issuer.token(exp=None),
        'missing the "sub" claim': issuer.token(sub=None),
        "Not enough segments": "abc",
    }
    for text, token in wrong.items():
        code, message = refused(door, token=token)
        assert (Code.UNAUTHENTICATED, True) == (code, text in message), message


def test_the_token_does_not_choose_the_algorithm(door: Access, issuer: Issuer) -> None:
    """`none`, HS256 with the public key as its secret, and RS512 are refused."""

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": time.time() + 600, "roles": ["admin"]}
    public = issuer.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = f"{part({'alg': 'HS256', 'kid': 'r'})}.{part(claims)}"
    mac = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).rstrip(b"=").decode()
    for token in (
        f"{part({'alg': 'none', 'kid': 'r'})}.{part(claims)}.",
        f"{signed}.{mac}",
        issuer.token(algorithm="RS512"),
    ):
        code, message = refused(door, "admin", token)
        assert (Code.UNAUTHENTICATED, True) == (code, "alg" in message), message


def test_a_token_expires_also_in_memory(door: Access, issuer: Issuer, monkeypatch) -> None:
    """One that was verified before is not taken after its end."""
    token = issuer.token()
    admitted(door, token=token)
    later = time.time() + 700
    monkeypatch.setattr(json_web_tokens.time, "time", lambda: later)
    assert "expired" in refused(door, token=token)[1]


def test_the_issuer_changes_its_keys(tmp_path: Path, issuer: Issuer, monkeypatch) -> None:
    """A key that is gone from the file is refused, one that is new is taken, and a broken file changes nothing."""
    (tmp_path / "jwks.json").write_text(issuer.jwks("r"))
    door = Access(written(tmp_path, jwt={"jwks": "jwks.json", "issuer": ISSUER, "audience": AUDIENCE}))
    token = issuer.token("r")
    admitted(door, token=token)
    assert "the issuer has no such key" in refused(door, token=issuer.token("e"))[1]

    def change(text: str) -> None:
        (tmp_path / "jwks.json").write_text(text)
        door._tokens._asked -= 60

    change("{")
    admitted(door, token=token)
    change(issuer.jwks("e"))
    admitted(door, token=issuer.token("e"))
    assert "the issuer has no such key" in refused(door, token=token)[1]


def test_keys_from_a_url(tmp_path: Path, issuer: Issuer, httpserver_of) -> None:
    """They are fetched when a token comes, and an unknown key id asks again at most every 10 s."""
    answers = [issuer.jwks("r"), issuer.jwks("r", "e")]
    url, asked = httpserver_of(lambda: answers[0])
    door = Access(written(tmp_path, jwt={"jwks": url, "issuer": ISSUER, "audience": AUDIENCE}))
    admitted(door, token=issuer.token("r"))
    answers.pop(0)
    for _ in range(3):
        assert "the issuer has no such key" in refused(door, token=issuer.token("e"))[1]
    assert 1 == len(asked)
    door._tokens._asked -= json_web_tokens.RETRY_SECONDS
    admitted(door, token=issuer.token("e"))
    assert 2 == len(asked)


@pytest.fixture
def httpserver_of():
    """Starts a server that answers with a function's text; gives its URL and the list of the requests."""
    import http.server
    import threading

    servers = []

    def start(text):
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text().encode())

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/jwks", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_bucket_fills_with_time() -> None:
    """A burst, then the rate; each client has its own; the time to wait is the time that it takes."""
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    assert [0.0, 0.0, 0.0, 0.5] == [limits.wait("a", 2.0, 3.0) for _ in range(4)]
    assert 0.0 == limits.wait("b", 2.0, 3.0)
    now[0] = 0.5
    assert [0.0, 0.5] == [limits.wait("a", 2.0, 3.0) for _ in range(2)]
    now[0] = 1000.0
    assert [0.0, 0.0, 0.0, 0.5] == [limits.wait("a", 2.0, 3.0) for _ in range(4)]


def test_a_client_is_held_to_its_limits(tmp_path: Path) -> None:
    """The key's own limits, or those of all; without any keys they hold for each address."""
    keys = [
        {
            "name": "slow",
            "sha256": hashed("one"),
            "roles": "predict",
            "limits": {"requests_per_second": 0.01},
        },
        {"name": "free", "sha256": hashed("two"), "roles": "predict", "limits": {}},
    ]
    door = Access(written(tmp_path, keys=keys, limits={"requests_per_second": 0.01, "body_mib": 0.5}))
    admitted(door, token="one")
    code, message = refused(door, token="one")
    assert (Code.RESOURCE_EXHAUSTED, True) == (code, message.startswith("slow may ask 0.01 times a second"))
    for _ in range(3):
        assert admitted(door, token="two").body_bytes is None
    door = Access(written(tmp_path, limits={"requests_per_second": 0.01, "body_mib": 0.5}))
    client = admitted(door, "admin")
    assert ("10.0.0.7", 1 << 19) == (client.name, client.body_bytes)
    with pytest.raises(StatusError) as caught:
        door.check_size(client, (1 << 19) + 1)
    assert 413 == caught.value.http
    assert Code.RESOURCE_EXHAUSTED == refused(door)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keys: [{name: a, sha256: abc, roles: predict}]", "must be the sha256 of the key"),
        ("certificates: [{name: a, roles: []}]", "at least 1"),
        ("jwt: {jwks: 'http://issuer.example.org', issuer: a, audience: b}", "must be a file or https://"),
        ("kyes: []", "unknown key 'kyes'"),
        ("[]", "must hold keys and values"),
        ("keys: [", "must be YAML"),
    ],
)
def test_a_wrong_access_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The error names the key."""
    path = tmp_path / "access.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        access_settings.read(path)
    os.unlink(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        access_settings.read(path)
