"""What the task and the workers give each other: folders below `<home>/training/<job>/`, the one place that all see.

request/    request.json (properties, artifacts), and each input below its name
errors/     <index>.txt: why a worker failed
result/     each output of the first worker below its name, and notes.json for the journal
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noria.core import files

Artifacts = Mapping[str, list[Any]]
FOLDER = "training"


def ask(home: Path, job: str, inputs: Artifacts, outputs: Artifacts, properties: Mapping[str, Any]) -> None:
    """Writes the request, and deletes those of tasks that were killed: one task at a time trains."""
    from tfx.utils import json_utils

    for old in (home / FOLDER).glob("*"):
        files.remove_tree(old)
    with _staged(home, job, "request") as beside:
        given = {"inputs": {}, "outputs": {}, "properties": dict(properties)}
        for name, artifacts in {**inputs, **outputs}.items():
            place = "inputs" if name in inputs else "outputs"
            given[place][name] = json_utils.dumps(artifacts)
            for number, artifact in enumerate(artifacts if name in inputs else ()):
                if Path(artifact.uri).exists():
                    files.copy_tree(Path(artifact.uri), beside / name / str(number))
        (beside / "request.json").write_text(json.dumps(given), encoding="utf-8")


def request(home: Path, job: str) -> dict[str, Any]:
    """The request as JSON; nothing of TFX is imported."""
    folder = files.fetched(home / FOLDER / job / "request")
    return json.loads((folder / "request.json").read_text(encoding="utf-8"))


def artifacts(home: Path, job: str, asked: Mapping[str, Any], into: Path) -> tuple[Artifacts, Artifacts]:
    """The request's inputs, and its outputs with places below a folder of this machine."""
    from tfx.utils import json_utils

    folder = home / FOLDER / job / "request"
    found = {
        place: {name: json_utils.loads(text) for name, text in asked[place].items()}
        for place in ("inputs", "outputs")
    }
    for name, given in found["inputs"].items():
        for number, artifact in enumerate(given):
            artifact.uri = str(folder / name / str(number))
    for name, [artifact] in found["outputs"].items():
        artifact.uri = str(into / name)
    return found["inputs"], found["outputs"]


def answer(home: Path, job: str, outputs: Artifacts, notes: Mapping[str, Any]) -> None:
    """Writes the result, whole or not at all."""
    with _staged(home, job, "result") as beside:
        for name, [artifact] in outputs.items():
            if Path(artifact.uri).exists():
                files.copy_tree(Path(artifact.uri), beside / name)
        (beside / "notes.json").write_text(json.dumps(notes, default=str), encoding="utf-8")


def collect(home: Path, job: str, outputs: Artifacts) -> dict[str, Any] | None:
    """Copies the result to the outputs' places; returns the notes, or None where there is no result."""
    _follow(home)
    folder = files.fetched(home / FOLDER / job / "result")
    if not folder.is_dir():
        return None
    for name, [artifact] in outputs.items():
        if (folder / name).exists():
            files.copy_tree(folder / name, Path(artifact.uri), link=False)
    return json.loads((folder / "notes.json").read_text(encoding="utf-8"))


def fail(home: Path, job: str, index: int, reason: str) -> None:
    """Notes why a worker failed."""
    files.write_text(home / FOLDER / job / "errors" / f"{index}.txt", reason)


def failures(home: Path, job: str) -> list[str]:
    """Why workers failed, as far as they could say it."""
    _follow(home)
    folder = files.fetched(home / FOLDER / job / "errors")
    return [
        f"worker {path.stem}: {path.read_text(encoding='utf-8')}" for path in sorted(folder.glob("*.txt"))
    ]


def forget(home: Path, job: str) -> None:
    """Deletes the request and the result."""
    files.remove_tree(home / FOLDER / job)


def _follow(home: Path) -> None:
    """Makes what other machines have written visible, if the home is in an object store."""
    there = files.home_of(home / FOLDER)
    if there is not None:
        there.pull()


@contextmanager
def _staged(home: Path, job: str, name: str) -> Iterator[Path]:
    folder = home / FOLDER / job
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=files.STAGING, dir=folder) as scratch:
        beside = Path(scratch) / name
        beside.mkdir()
        yield beside
        files.commit_folder(beside, folder / name)
