"""The model directory that TF Serving watches: `<root>/<version>/`, where the largest number serves.

A version is added and removed by one rename. What is unfinished has a name that begins with a dot. It is no number, so
TF Serving and all other readers ignore it. In an object store, which has no rename, `saved_model.pb` is written last
and deleted first.
"""

from pathlib import Path

from noria.core import files
from noria.core.errors import RegistryError


def served(root: Path) -> list[int]:
    """The version numbers in the directory, ascending."""
    if not root.is_dir():
        return []
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdigit() and path.is_dir())


def add(root: Path, version: int, payload: Path, digests: dict[str, str]) -> Path:
    """Copies a model into the directory under a temporary name, checks and syncs it, and renames it to its number.

    Args:
      root: the model directory; made if missing.
      version: the number.
      payload: the SavedModel's folder.
      digests: sha256 of each file of it, by path below `payload`.

    Raises:
      RegistryError: a file is missing or differs from its digest.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / str(version)
    if target.exists():
        check(files.fetched(target), digests)
        return target
    beside = files.staging(root)
    try:
        files.copy_tree(payload, beside, link=False)
        check(beside, digests, named=payload)
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


def withdraw(root: Path, versions: list[int]) -> None:
    """Removes versions from the directory, the largest last: until then it is the one that serves."""
    for version in sorted(versions):
        files.remove_tree(root / str(version))
    if versions:
        files.sync(root)
