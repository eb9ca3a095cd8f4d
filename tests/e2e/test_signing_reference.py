"""OpenSSF's `model-signing` verifies Noria's signatures, and Noria verifies its.

It has an environment to itself: its dependencies do not fit TFX's.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from noria.core import files
from noria.core.errors import RegistryError
from noria.stores import model_signature

pytestmark = pytest.mark.package


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """The command of the reference library."""
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    # It imports pyOpenSSL and does not declare it.
    subprocess.run([folder / "bin" / "pip", "install", "-q", "model-signing", "pyopenssl"], check=True)
    return folder / "bin" / "model_signing"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for command in (
        model_signature.NEW_KEY,
        "openssl ec -in signing.pem -pubout -out signing.pub",
    ):
        subprocess.run(command.split(), cwd=tmp_path, check=True)
    folder = tmp_path / "7"
    for name in ("saved_model.pb", "variables/variables.index", "variables.txt", "assets/größe"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_the_reference_verifies_our_signature(reference: Path, model: Path) -> None:
    """It accepts the signature, and refuses the model after a change."""
    key = model_signature.PrivateKey.read(model.parent / "signing.pem")
    key.sign(model, files.tree_digests(model))
    command = [reference, "verify", "key", model, "--signature", model_signature.path_of(model)]
    command += ["--public_key", model.parent / "signing.pub"]
    subprocess.run(command, check=True)
    (model / "saved_model.pb").write_text("another")
    assert 0 != subprocess.run(command).returncode


def test_we_verify_the_references_signature(reference: Path, model: Path) -> None:
    """Its signature of the same folder is accepted, and refused after a change."""
    command = [reference, "sign", "key", model, "--signature", model_signature.path_of(model)]
    subprocess.run([*command, "--private_key", model.parent / "signing.pem"], check=True)
    trusted = [model_signature.PublicKey.read(model.parent / "signing.pub")]
    model_signature.verify(model, trusted)
    (model / "assets" / "größe").write_text("another")
    with pytest.raises(RegistryError, match="assets/größe was changed"):
        model_signature.verify(model, trusted)
