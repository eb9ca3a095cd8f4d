"""The model directory that TF Serving watches: `<root>/<version>/`, where the largest number serves.

A version is added and removed by one rename; its signature, if there is a key, is written before. Unfinished and
withdrawn versions, the candidate of a rollout and the cold twin have a name that begins with a dot. TF Serving and all
other readers ignore it, as it is not a number; `noria serve` alone reads the candidate and the twin. In an object
store, which has no rename, `saved_model.pb` is written last and deleted first, and a withdrawn version is deleted: the
registry has its files.
"""

from pathlib import Path

from noria.core import files
from noria.core.errors import ConfigError, RegistryError
from noria.stores import model_signature

WITHDRAWN = ".withdrawn-"
CANDIDATE = ".candidate-"
TWIN = ".twin-"
PREFIXES = ("", WITHDRAWN, CANDIDATE, TWIN)
# Where TF Serving looks for warm-up requests, and how many it accepts (tensorflow.org/tfx/serving, SavedModel Warmup).
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000


def served(root: Path) -> list[int]:
    """The version numbers in the directory, ascending."""
    return [int(path.name) for path in folders(root)]


def folders(root: Path) -> list[Path]:
    """The folders of the versions, the smallest number first."""
    if not root.is_dir():
        return []
    found = [path for path in root.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def candidates(root: Path) -> list[int]:
    """The numbers of the candidates in the directory, ascending."""
    return _prefixed(root, CANDIDATE)


def twins(root: Path) -> list[int]:
    """The numbers of the cold twins in the directory, ascending: at most one, but for a moment."""
    return _prefixed(root, TWIN)


def _prefixed(root: Path, prefix: str) -> list[int]:
    if not root.is_dir():
        return []
    names = (path.name.removeprefix(prefix) for path in root.glob(f"{prefix}*") if path.is_dir())
    return sorted(int(name) for name in names if name.isdigit())


def add(
    root: Path,
    version: int,
    payload: Path,
    digests: dict[str, str],
    prefix: str = "",
    signing_key: Path | None = None,
) -> Path:
    """Copies a model into the directory under a temporary name, checks and syncs it, and renames it to its number.

    Args:
      root: the model directory; made if missing.
      version: the number.
      payload: the SavedModel's folder.
      digests: sha256 of each file of it, by path below `payload`.
      prefix: before the number: `CANDIDATE` for a version that does not serve yet, `TWIN` for the fallback.
      signing_key: PEM file of the key that signs it; one that this key has signed already is not signed again.

    Raises:
      RegistryError: a file is missing or differs from its digest.
      ConfigError: the key cannot be used.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"{prefix}{version}"
    if target.exists():
        check(files.fetched(target), digests)
        if signing_key is not None and not is_signed(root, version, signing_key):
            model_signature.PrivateKey.read(signing_key).sign(target, digests)
        return target
    key = model_signature.PrivateKey.read(signing_key) if signing_key is not None else None
    beside = files.staging(root)
    try:
        files.copy_tree(payload, beside, link=False)
        check(beside, digests, named=payload)
        if key is not None:
            key.sign(target, digests)
        files.commit_folder(beside, target)
    finally:
        files.remove_tree(beside)
    return target


def check(folder: Path, digests: dict[str, str], named: Path | None = None) -> None:
    """Compares a folder with the digests of its files; other files are ignored.

    Raises:
      RegistryError: a file is missing or differs; the error gives its path below `named`.
    """
    for name, digest in digests.items():
        path = folder / name
        if path.is_file() and files.sha256(path) == digest:
            continue
        raise RegistryError(
            f"a file of the model is {'damaged' if path.exists() else 'missing'}",
            where=(named or folder) / name,
            next_step="restore it from a backup, or run again to make a new version",
        )


def is_signed(root: Path, version: int, signing_key: Path) -> bool:
    """Whether a version has a signature by this key; its files are not read.

    Where the key cannot be read, any signature will do: a rollback must be possible where the key is not.
    """
    if not model_signature.path_of(root / str(version)).exists():
        return False
    try:
        key = model_signature.PrivateKey.read(signing_key)
    except ConfigError:
        return True
    return model_signature.is_signed(root / str(version), key)


def withdraw(root: Path, versions: list[int]) -> None:
    """Removes versions from the directory, the largest last: until then it is the one that serves."""
    for version in sorted(versions):
        _withdraw(root, str(version), version)
    if versions:
        files.sync(root)


def withdraw_candidate(root: Path, version: int) -> None:
    """Ends what `add` with the prefix `CANDIDATE` began."""
    _withdraw(root, f"{CANDIDATE}{version}", version)
    files.sync(root)


def restore(root: Path, version: int) -> bool:
    """Adds a candidate, or again a withdrawn version; False if there are no such files."""
    for prefix in (CANDIDATE, WITHDRAWN):
        beside = files.fetched(root / f"{prefix}{version}")
        if beside.is_dir():
            files.commit_folder(beside, root / str(version))
            files.remove_tree(beside)  # what an object store still has of it
            return True
    return False


def take_out_twin(root: Path, version: int) -> None:
    """Deletes a twin, whose files the registry has."""
    files.remove_tree(root / f"{TWIN}{version}")
    if not (root / str(version)).exists():
        files.remove_tree(model_signature.path_of(root / str(version)))


def delete(root: Path, version: int) -> None:
    """Deletes a version, also a withdrawn one, a candidate or a twin, with its signature."""
    files.remove_tree(model_signature.path_of(root / str(version)))
    for prefix in PREFIXES:
        files.remove_tree(root / f"{prefix}{version}")


def _withdraw(root: Path, name: str, version: int) -> None:
    folder, target = root / name, root / f"{WITHDRAWN}{version}"
    if files.home_of(folder) is not None:
        files.remove_tree(folder)
    elif folder.exists():
        files.remove_tree(target)
        folder.rename(target)
