"""Signatures of models: what a publication signs, and what is refused."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from noria.core.errors import ConfigError, RegistryError
from noria.pipeline.cli import app
from noria.stores import model_signature
from noria.stores.model_signature import PrivateKey, PublicKey
from noria.stores.publication import Publication
from noria.stores.recovery import recover, retain
from noria.stores.registry import Registry


def key_pair(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """The files of a private and a public key."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The model directory of a project whose version 1 is signed with key `one`."""
    one, _ = key_pair(tmp_path, "one")
    model = tmp_path / "run" / "serving"
    for name in ("saved_model.pb", "variables/variables.index", "variables.txt", "assets/words"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(f"{name}\n")
    registry = Registry(tmp_path)
    registry.register({"serving": model}, run_id="a")
    Publication(registry, tmp_path / "models", one).publish(1)
    return tmp_path / "models"


def trusted(published: Path, *names: str) -> list[PublicKey]:
    return [PublicKey.read(published.parent / f"{name}.pub") for name in names]


def test_what_is_published_is_signed(published: Path) -> None:
    """The signature lies beside the version, and any of several trusted keys may have made it."""
    key_pair(published.parent, "other")
    found = model_signature.verify(published / "1", trusted(published, "other", "one"))
    assert "one.pub" == found.file.name
    assert [".1.sig", "1"] == sorted(path.name for path in published.iterdir())
    (published / "1").rename(published / ".withdrawn-1")  # it keeps its signature
    model_signature.verify(published / ".withdrawn-1", trusted(published, "one"))


def renumber(model: Path) -> None:
    """An old version with its signature, under a new number."""
    model.rename(model.with_name("2"))
    (model.parent / ".1.sig").rename(model.parent / ".2.sig")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: (model / "assets/words").write_text("Assets/words\n"), "assets/words was changed"),
        (lambda model: (model / "assets/more").write_text(""), "assets/more was added"),
        (lambda model: (model / "saved_model.pb").unlink(), "saved_model.pb was removed"),
        (lambda model: (model / "assets/link").symlink_to("words"), "got a link"),
        (lambda model: os.mkfifo(model / "assets/pipe"), "got a link or a special file"),
        (lambda model: model.rename(model.with_name("2")), "the model is not signed"),
        (lambda model: renumber(model), "it is for a model in a folder 1, not 2"),
        (lambda model: (model.parent / ".1.sig").unlink(), "the model is not signed"),
        (lambda model: (model.parent / ".1.sig").write_text("{"), "it cannot be read"),
        (lambda model: (model.parent / ".1.sig").write_text("{}"), "it is not a Sigstore bundle"),
    ],
)  # fmt: skip
def test_a_change_is_refused(published: Path, change, reason: str) -> None:
    """Whatever was changed after the publication is named."""
    change(published / "1")
    model = published / ("1" if (published / "1").exists() else "2")
    with pytest.raises(RegistryError, match=reason):
        model_signature.verify(model, trusted(published, "one"))


def test_another_signature_is_refused(published: Path) -> None:
    """A signature by an unknown key, one whose statement was changed, and one by an unknown key that names a known
    one.
    """
    two, _ = key_pair(published.parent, "two")
    file = published / ".1.sig"
    original = file.read_text()
    with pytest.raises(RegistryError, match="it is not by a trusted key; it names the key"):
        model_signature.verify(published / "1", trusted(published, "two"))
    bundle = json.loads(original)
    payload = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = ("A" if payload[40] != "A" else "B").join(
        [payload[:40], payload[41:]]
    )
    file.write_text(json.dumps(bundle))
    with pytest.raises(RegistryError, match="it was changed"):
        model_signature.verify(published / "1", trusted(published, "one"))
    PrivateKey.read(two).sign(published / "1", {})
    forged = json.loads(file.read_text())
    forged["verificationMaterial"] = json.loads(original)["verificationMaterial"]
    file.write_text(json.dumps(forged))
    with pytest.raises(RegistryError, match="it was changed, or is not by the key that it names"):
        model_signature.verify(published / "1", trusted(published, "one"))


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A key on another curve, no key, and a missing file are errors of the settings."""
    private, public = key_pair(tmp_path, "large", ec.SECP384R1())
    with pytest.raises(ConfigError, match="must be on the curve P-256, got secp384r1"):
        PublicKey.read(public)
    with pytest.raises(ConfigError, match="must be a private key in PEM format"):
        PrivateKey.read(public)
    with pytest.raises(ConfigError, match="cannot be read"):
        PublicKey.read(tmp_path / "absent.pub")


def test_keys_of_openssl_fit(tmp_path: Path) -> None:
    """The commands in the documentation and the messages make a pair that works."""
    subprocess.run(model_signature.NEW_KEY.split(), cwd=tmp_path, check=True)
    made = ["openssl", "ec", "-in", "signing.pem", "-pubout", "-out", "signing.pub"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    assert PrivateKey.read(tmp_path / "signing.pem").id == PublicKey.read(tmp_path / "signing.pub").id


def test_a_new_key_signs_what_serves(published: Path) -> None:
    """When the key changes, the next run signs the version that serves, with the digests of the registry."""
    two, _ = key_pair(published.parent, "two")
    registry = Registry(published.parent)
    assert ["signed version 1 with two.pem"] == recover(registry, published, two)
    assert [] == recover(registry, published, two)
    model_signature.verify(published / "1", trusted(published, "two"))
    (published / "1" / "assets" / "more").write_text("smuggled")
    (published / ".1.sig").unlink()
    Publication(registry, published, two).publish(1)
    with pytest.raises(RegistryError, match="assets/more was added"):
        model_signature.verify(published / "1", trusted(published, "two"))


def test_a_key_that_cannot_be_read_stops_the_publication(published: Path) -> None:
    """Nothing is published unsigned by mistake; with the key back, it is published."""
    home = published.parent
    registry = Registry(home)
    registry.register({"serving": home / "run" / "serving"}, run_id="b", parent=1)
    with pytest.raises(ConfigError, match="the private key cannot be read"):
        Publication(registry, published, home / "lost.pem").publish(2)
    assert not (published / "2").exists()
    Publication(registry, published, home / "one.pem").publish(2)
    model_signature.verify(published / "2", trusted(published, "one"))
    registry.register({"serving": home / "run" / "serving"}, run_id="c", parent=2)
    Publication(registry, published, home / "one.pem").publish(3)
    assert [1] == retain(registry, 1, published)
    assert [".2.sig", ".3.sig", "2", "3"] == sorted(path.name for path in published.iterdir())


def test_a_rollback_needs_no_key(published: Path) -> None:
    """A version that has a signature serves again also where the key is not."""
    registry = Registry(published.parent)
    registry.register({"serving": published.parent / "run" / "serving"}, run_id="b", parent=1)
    Publication(registry, published, published.parent / "one.pem").publish(2)
    Publication(registry, published, published.parent / "lost.pem").rollback("bad", "me")
    model_signature.verify(published / "1", trusted(published, "one"))
    assert not (published / "2").exists()


def test_a_candidate_is_signed(published: Path) -> None:
    """The candidate of a rollout has its signature before it serves, and keeps it when it does, without the key."""
    registry = Registry(published.parent)
    registry.register({"serving": published.parent / "run" / "serving"}, run_id="b", parent=1)
    Publication(registry, published, published.parent / "one.pem").stage(2)
    model_signature.verify(published / ".candidate-2", trusted(published, "one"))
    Publication(registry, published).promote(2, "it is better", "me")
    model_signature.verify(published / "2", trusted(published, "one"))


def test_the_command_names_each_version(published: Path) -> None:
    """`noria verify` lists all versions and ends with 3 if one is refused."""
    arguments = ["verify", str(published), "--trusted-key", str(published.parent / "one.pub")]
    done = CliRunner().invoke(app.app, arguments)
    assert (0, True) == (done.exit_code, done.output.startswith("version 1 is valid; signed by one.pub"))
    (published / "1" / "more").write_text("")
    done = CliRunner().invoke(app.app, [*arguments, "--json"])
    assert 3 == done.exit_code
    reason = json.loads(done.output)["versions"][0]["reason"]
    assert "the model of version 1 is not valid: more was added" == reason
