"""The data of one run: what the runner passes, and the files of the run's artifacts.

The report is written for good runs and for bad ones, so nothing here raises for a file that is missing or
damaged: a missing file is None, a damaged one is None with a line in `damaged`, and the page shows both.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse


@dataclasses.dataclass(frozen=True)
class RunData:
    """One run of the pipeline, as the runner passes it.

    Attributes:
      project: the project's name.
      run: fields of the run, each of them optional: `run_id`, `span`, `span_start` and `span_end` (event
        times), `mode` (warm or cold), `spans` (the window), `rows` ({train, eval, unlabelled, new, replay}),
        `version` (the published version), `parent` (the champion's version), `code_digest`,
        `data_verdict`, `transform` (reused or refreshed), `started` (text or epoch seconds), `seconds`,
        `log` (path of the log file), `error` (message of a run that failed).
      journal: the run's records (components/journal.py), in order.
      paths: node id -> output name -> folder of the artifact (a path or a file:// URI).
    """

    project: str
    run: Mapping[str, Any]
    journal: Sequence[Mapping[str, Any]]
    paths: Mapping[str, Mapping[str, str | None]]


@dataclasses.dataclass(frozen=True)
class Artifacts:
    """What the run's artifacts say; None for what the run did not make or what cannot be read."""

    data_verdict: dict[str, Any] | None
    model_verdict: dict[str, Any] | None
    warm_start: dict[str, Any] | None
    schema_diff: str | None
    span_statistics: bytes | None
    previous_statistics: bytes | None
    champion_statistics: bytes | None
    champion: dict[str, Any] | None
    damaged: tuple[str, ...]


def folder(run_data: RunData, node: str, output: str) -> Path | None:
    """The folder of an artifact, or None where the node did not run or left nothing."""
    uri = (run_data.paths.get(node) or {}).get(output)
    if not uri:
        return None
    # A URI escapes spaces and other characters; a plain path must not be changed.
    path = Path(unquote(urlparse(uri).path) if uri.startswith("file:") else uri)
    return path if path.is_dir() else None


def read_artifacts(run_data: RunData) -> Artifacts:
    """Reads the run's artifacts; never raises for a missing or damaged file."""
    damaged: list[str] = []

    def read(node: str, output: str, name: str) -> bytes | None:
        where = folder(run_data, node, output)
        path = where / name if where else None
        if path is None or not path.is_file():
            return None
        try:
            return path.read_bytes()
        except OSError as error:
            damaged.append(f"{path}: {error.strerror or error}")
            return None

    def read_json(node: str, output: str, name: str) -> dict[str, Any] | None:
        content = read(node, output, name)
        if content is None:
            return None
        try:
            value = json.loads(content)
        except ValueError as error:
            damaged.append(f"{name} of {node}: {error}")
            return None
        if not isinstance(value, dict):
            damaged.append(f"{name} of {node}: must hold an object, got {type(value).__name__}")
            return None
        return value

    diff = None
    for node, output in (("DataGate", "verdict"), ("SchemaGen", "schema"), ("StatisticsGen", "statistics")):
        diff = diff or read(node, output, "schema_diff.md")
    return Artifacts(
        data_verdict=read_json("DataGate", "verdict", "data_verdict.json"),
        model_verdict=read_json("Evaluator", "evaluation", "model_verdict.json"),
        warm_start=read_json("Trainer", "model", "warm_start.json"),
        schema_diff=diff.decode("utf-8", "replace") if diff else None,
        span_statistics=read("StatisticsGen", "statistics", "Split-span/FeatureStats.pb"),
        previous_statistics=read("StatisticsGen", "statistics", "Split-previous/FeatureStats.pb"),
        champion_statistics=read("ChampionResolver", "champion", "statistics/FeatureStats.pb"),
        champion=read_json("ChampionResolver", "champion", "version.json"),
        damaged=tuple(damaged),
    )
