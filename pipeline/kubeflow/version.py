"""The name of a pipeline's version: what it was made of, so that the same is never uploaded twice."""

import hashlib
import importlib.util
from pathlib import Path

from noria.components.code_digest import code_digest
from noria.pipeline.config import Config
from noria.pipeline.kubeflow.client import Package

# Noria's own code that runs inside a task. Read file by file: `code_digest` would import TensorFlow to find it.
ROOMS = ("components", "preprocessing", "schemas", "stores", "streaming")


def version_name(config: Config, package: Package) -> str:
    """`settings-code-package`, 8 hex digits each: equal names mean equal settings, code, schema and package.

    The package counts as well: it holds the image, the resources, and what the compiler made of them.
    """
    code = hashlib.sha256(_noria())
    for path in (config.preprocessing, config.trainer.run_fn, config.trainer.build_model):
        if path and not path.startswith("noria."):
            code.update(code_digest(path, str(config.folder), packages=()).encode())
    if config.schema_path.is_file():  # compiling refuses a missing one
        code.update(config.schema_path.read_bytes())
    compiled = hashlib.sha256(package.path.read_bytes()).hexdigest()
    return f"{config.digest()[:8]}-{code.hexdigest()[:8]}-{compiled[:8]}"


def _noria() -> bytes:
    digest = hashlib.sha256()
    for room in ROOMS:
        spec = importlib.util.find_spec(f"noria.{room}")
        folder = Path(str(spec and spec.origin)).parent
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"\0{room}/{file.relative_to(folder).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.digest()
