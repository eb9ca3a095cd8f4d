"""Signatures of models, as OpenSSF Model Signing 1.0 (github.com/ossf/model-signing-spec) with keys on P-256.

A signature is a Sigstore bundle: a DSSE envelope around an in-toto statement that lists each file of the model with its
SHA-256. It is beside the version's folder, as `.<version>.sig`; TF Serving ignores the name. The reference library is
`model-signing`, whose dependencies do not fit TFX's; it verifies what this module signs, and the other way round.
"""

import base64
import binascii
import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from noria.core import files
from noria.core.errors import ConfigError, RegistryError

__all__ = ["PrivateKey", "PublicKey", "is_signed", "path_of", "state", "verify"]

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_BYTES = 64 << 20  # of a signature; one of 1,000 files has 0.2 MiB
ALGORITHM, METHOD = "sha256", "files"
NEW_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out signing.pem"


def path_of(folder: Path) -> Path:
    """The path of the signature of a version's folder."""
    return folder.parent / f".{_name_of(folder)}.sig"


def _name_of(folder: Path) -> str:
    """What is signed as the model's name: the number, also while the folder has a prefix such as `.withdrawn-`."""
    return folder.name.rpartition("-")[2] if folder.name.startswith(".") else folder.name


@dataclasses.dataclass(frozen=True)
class _Key:
    id: str
    _key: Any


@dataclasses.dataclass(frozen=True)
class PublicKey(_Key):
    """A key that is trusted.

    Attributes:
      id: sha256 of its PEM text, as the signatures name it.
      file: the PEM file it came from.
    """

    file: Path

    @classmethod
    def read(cls, file: Path) -> "PublicKey":
        """Reads a PEM file.

        Raises:
          ConfigError: it is not a public key on P-256, or `cryptography` is not installed.
        """
        from_pem = _cryptography().load_pem_public_key
        key = _checked(file, from_pem, "public", f"openssl ec -in signing.pem -pubout -out {file.name}")
        return cls(_id(key), key, file)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made the signature (ECDSA, DER) of the message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message, _algorithm())
        except InvalidSignature:
            return False
        return True


@dataclasses.dataclass(frozen=True)
class PrivateKey(_Key):
    """The key that signs.

    Attributes:
      id: sha256 of the public key's PEM text.
    """

    @classmethod
    def read(cls, file: Path) -> "PrivateKey":
        """Reads a PEM file without a password.

        Raises:
          ConfigError: it is not a private key on P-256, or `cryptography` is not installed.
        """
        from_pem = _cryptography().load_pem_private_key
        key = _checked(file, lambda data: from_pem(data, None), "private", NEW_KEY)
        return cls(_id(key.public_key()), key)

    def sign(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Writes the signature of a model beside its folder, which may not exist yet.

        Args:
          folder: the version's.
          digests: sha256 of each of its files, by path. They are what is signed, even if the folder has changed since.
        """
        resources = [
            {"name": name, "algorithm": ALGORITHM, "digest": digest}
            for name, digest in sorted(digests.items(), key=lambda each: PurePosixPath(each[0]))
        ]
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": _name_of(folder), "digest": {ALGORITHM: _root_digest(resources)}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "serialization": {
                    "method": METHOD,
                    "hash_type": ALGORITHM,
                    "allow_symlinks": False,
                    "ignore_paths": [],
                },
                "resources": resources,
            },
        }
        payload = json.dumps(statement).encode()
        signature = self._key.sign(_message(payload), _algorithm())
        bundle = {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": self.id}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
        files.write_json(path_of(folder), bundle)


def verify(folder: Path, trusted: Sequence[PublicKey]) -> PublicKey:
    """Compares a model with its signature; reads every file.

    Returns:
      The key that signed it.

    Raises:
      RegistryError: no signature, not by a trusted key, for another version, or a file was changed, added or removed.
    """
    statement, key = _signed_statement(folder, trusted)
    try:
        (subject,) = statement["subject"]
        resources = statement["predicate"]["resources"]
        signed = {each["name"]: each["digest"] for each in resources}
        algorithms = {each["algorithm"] for each in resources}
        method = statement["predicate"]["serialization"]["method"]
        known = (statement["_type"], statement["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
        consistent = len(signed) == len(resources) and subject["digest"][ALGORITHM] == _root_digest(resources)
        name = subject["name"]
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(folder, f"its statement is not that of a model: {error!r}") from error
    if not known or not algorithms <= {ALGORITHM} or method != METHOD or not consistent:
        raise _refused(folder, "its statement is of another kind")
    if name != _name_of(folder):
        raise _refused(folder, f"it is for a model in a folder {name}, not {_name_of(folder)}")
    found = _digests(folder)
    for wrong, where in (
        ("was removed", signed.keys() - found.keys()),
        ("was added", found.keys() - signed.keys()),
        ("was changed", {each for each in signed.keys() & found.keys() if signed[each] != found[each]}),
    ):
        if where:
            more = f", and {len(where) - 1} more" if len(where) > 1 else ""
            raise _refused(folder, f"{sorted(where)[0]} {wrong}{more}", "the model")
    return key


def is_signed(folder: Path, key: PrivateKey) -> bool:
    """Whether the signature beside a folder is by this key; the files are not read."""
    try:
        return bool(_bundle(folder)["verificationMaterial"]["publicKey"]["hint"] == key.id)
    except (RegistryError, KeyError, TypeError):
        return False


def state(folder: Path) -> tuple[Any, ...]:
    """Changes whenever a file of the model, its folder or its signature was written, renamed or replaced.

    The time of a change of an inode (ctime) cannot be set, so what is equal before and after a load was not changed
    in between.
    """
    paths = [path_of(folder), folder]
    for parent, folders, names in os.walk(folder):
        paths += [Path(parent) / name for name in (*folders, *names)]
    found: list[tuple[Any, ...]] = []
    for path in sorted(paths):
        try:
            status = os.lstat(path)
        except OSError:
            found.append((str(path),))
            continue
        found.append((str(path), status.st_ino, status.st_dev, status.st_size, status.st_ctime_ns))
    return tuple(found)


def _signed_statement(folder: Path, trusted: Sequence[PublicKey]) -> tuple[dict[str, Any], PublicKey]:
    bundle = _bundle(folder)
    try:
        envelope = bundle["dsseEnvelope"]
        kinds = bundle["mediaType"], envelope["payloadType"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        (only,) = envelope["signatures"]
        signature = base64.b64decode(only["sig"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise _refused(folder, f"it is not a Sigstore bundle: {error!r}") from error
    if kinds != (MEDIA_TYPE, PAYLOAD_TYPE):
        raise _refused(
            folder, f"it must be {MEDIA_TYPE} with {PAYLOAD_TYPE}, got {' with '.join(map(str, kinds))}"
        )
    for key in trusted:
        if key.verifies(signature, _message(payload)):
            try:
                return json.loads(payload), key
            except ValueError as error:
                raise _refused(folder, f"its statement is not JSON: {error}") from error
    hint = bundle.get("verificationMaterial", {}).get("publicKey", {}).get("hint", "")
    known = any(key.id == hint for key in trusted)
    raise _refused(
        folder,
        "it was changed, or is not by the key that it names"
        if known
        else f"it is not by a trusted key; it names the key {str(hint)[:16] or 'none'}",
    )


def _bundle(folder: Path) -> dict[str, Any]:
    path = path_of(folder)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found
    except FileNotFoundError as error:
        raise RegistryError(
            "the model is not signed",
            where=path,
            next_step="set `signing.key` in the project's settings; the next publication of the version signs it",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(folder, f"it cannot be read: {error}") from error


def _digests(folder: Path) -> dict[str, str]:
    """sha256 of each file by its path. Links and special files are refused."""
    if folder.is_symlink():
        raise RegistryError("the folder of a signed model must not be a link", where=folder)
    found = {}
    for parent, folders, names in os.walk(folder, onerror=_raise):
        for name in (*folders, *names):
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise RegistryError(
                    "a signed model must consist of files and folders, got a link or a special file",
                    where=path,
                )
            if stat.S_ISREG(mode):
                found[path.relative_to(folder).as_posix()] = files.sha256(path)
    return found


def _raise(error: OSError) -> None:
    raise error


def _root_digest(resources: Sequence[dict[str, Any]]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()


def _message(payload: bytes) -> bytes:
    """What DSSE signs: the pre-authentication encoding (github.com/secure-systems-lab/dsse, protocol.md)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _id(public: Any) -> str:
    module = _cryptography()
    pem = public.public_bytes(module.Encoding.PEM, module.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _algorithm() -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256())


def _checked(file: Path, load: Any, kind: str, how: str) -> Any:
    """A key on P-256 from a PEM file."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        key = load(file.read_bytes())
    except OSError as error:
        raise files.refusal(error, f"the {kind} key cannot be read", file, ConfigError) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"must be a {kind} key in PEM format: {error}", where=file, next_step=how
        ) from error
    curve = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    if curve != "secp256r1":
        raise ConfigError(f"the key must be on the curve P-256, got {curve}", where=file, next_step=NEW_KEY)
    return key


def _cryptography() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise ConfigError(
            "signatures need the package cryptography", next_step='pip install "noria[signing]"'
        ) from error
    return serialization


def _refused(folder: Path, reason: str, what: str = "the signature") -> RegistryError:
    return RegistryError(
        f"{what} of version {folder.name} is not valid: {reason}",
        where=path_of(folder) if what == "the signature" else folder,
        next_step="find out who changed it; `noria rollback` or a new version serves instead",
    )
