"""The digest of a SavedModel's files. Standard library only."""

import hashlib
from pathlib import Path


def digest(folder: Path, *, variables: bool = True) -> str:
    """blake2b over all files that determine a SavedModel's predictions.

    Args:
      folder: the SavedModel; `assets.extra` is ignored.
      variables: False ignores the weights: models with the same digest differ in their weights only.
    """
    digest = hashlib.blake2b()
    folders = ["assets", "variables"] if variables else ["assets"]
    paths = [folder / "saved_model.pb", *(path for name in folders for path in (folder / name).rglob("*"))]
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
