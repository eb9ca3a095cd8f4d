"""A compiled pipeline, and the name of its version, which is a digest of its sources: none is uploaded twice."""

import dataclasses
import graphlib
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from noria.core.code_digest import code_digest
from noria.core.errors import DataError
from noria.pipeline.config import Config
from noria.pipeline.runners.kubeflow import exit_handler

# Noria's own code that runs inside a task. Read file by file, as `code_digest` would import TensorFlow to find it.
ROOMS = ("components", "core", "ingestion", "pipeline", "preprocessing", "schemas", "stores")


@dataclasses.dataclass(frozen=True)
class Package:
    """A compiled pipeline: a YAML file with the specification and, after it, the platform's part."""

    path: Path
    name: str
    tasks: tuple[str, ...]
    source_digest: str | None = None  # of the sources that it was compiled from, as Ingest compares them

    @classmethod
    def read(cls, path: Path) -> "Package":
        """Raises DataError if the file is not a package."""
        try:
            spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
            dags = [each["dag"] for each in (spec["root"], *spec["components"].values()) if "dag" in each]
            # Those of the inner DAG first: the outer one has it and the exit handler.
            tasks = tuple(
                name
                for dag in reversed(dags)
                for name in _in_order(dag["tasks"])
                if name != exit_handler.STAGES
            )
            return cls(path, spec["pipelineInfo"]["name"], tasks, _source_digest(dags))
        except OSError as error:
            reason = str(error.strerror)
        except (
            StopIteration,
            graphlib.CycleError,
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
            yaml.YAMLError,
        ):
            reason = "it is not a Kubeflow pipeline (schema 2.1, YAML)"
        raise DataError(
            f"the package cannot be used: {reason}",
            where=path,
            next_step="noria compile --output FILE writes one; without --package, `noria submit` compiles",
        )


def version_name(config: Config, package: Package) -> str:
    """`settings-code-package`, 8 hex digits each: equal names mean equal settings, code, schema and package.

    The package counts as well: it contains the image, the resources and the compiler's output.
    """
    code = hashlib.sha256(_noria())
    own = (*config.gates.own_measures, *config.gates.own_metrics)
    for path in (config.preprocessing, config.trainer.run_fn, config.trainer.family, *own):
        if "." in path and not path.startswith("noria."):
            code.update(code_digest(path, str(config.folder), packages=()).encode())
    if config.schema_path.is_file():  # compiling refuses a missing one
        code.update(config.schema_path.read_bytes())
    compiled = hashlib.sha256(package.path.read_bytes()).hexdigest()
    return f"{config.digest()[:8]}-{code.hexdigest()[:8]}-{compiled[:8]}"


def _noria() -> bytes:
    digest = hashlib.sha256()
    for room in ROOMS:
        spec = importlib.util.find_spec(f"noria.{room}")
        assert (
            spec is not None and spec.origin is not None
        )  # a room that is not there would leave the digest empty
        folder = Path(spec.origin).parent
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"\0{room}/{file.relative_to(folder).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.digest()


def _source_digest(dags: list[Any]) -> str | None:
    given = (dag["tasks"].get("Ingest", {}).get("inputs", {}).get("parameters", {}) for dag in dags)
    found = (each["source_digest"]["runtimeValue"]["constant"] for each in given if "source_digest" in each)
    return next(found, None) or None


def _in_order(tasks: dict[str, Any]) -> Iterator[str]:
    """Names in the order of the tasks; the file sorts them by the alphabet."""
    after = {name: task.get("dependentTasks", ()) for name, task in sorted(tasks.items())}
    return iter(graphlib.TopologicalSorter(after).static_order())
