"""Finds the files of each split, computes or reuses their statistics, and caches the newest span's."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tfx import types

from noria.components import execution, journal, statistics_cache
from noria.components.internals.tfx_beam import BeamExecutor
from noria.components.statistics_gen import in_process
from noria.core.errors import DataError
from noria.core.files import fetched
from noria.schemas import loader
from noria.stores.spans import SpanStore


@dataclasses.dataclass(frozen=True)
class ExampleFiles:
    """The example files of each split: `span`, `train`, and `previous` if the window holds all rows of an older
    span."""

    span: int
    version: int
    span_files: list[Path]
    train_files: list[Path]
    older: dict[int, list[Path]]

    @property
    def bytes(self) -> int:
        """Compressed bytes to read, for each split."""
        return sum(path.stat().st_size for path in [*self.span_files, *self.train_files])


class Executor(BeamExecutor):
    """Statistics in process or on Beam, with the same numbers."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits' statistics under `output_dict["statistics"][0]`.

        Raises:
          ConfigError: `execution` is none of `auto`, `in-process`, `beam`.
          DataError: the examples hold no file of the newest span.
        """
        with journal.stage("StatisticsGen") as stage:
            examples, artifact = input_dict["examples"][0], output_dict["statistics"][0]
            home = Path(exec_properties["home"])
            schema = loader.load(Path(input_dict["schema"][0].uri) / "schema.pbtxt")
            digest = loader.digest(schema)
            inputs = find(examples)
            path, reason = execution.choose(exec_properties["execution"], inputs.bytes, self.beam_args)
            stage.note(span=inputs.span, path=path, reason=reason)

            store = statistics_cache.StatisticsCache(home)
            content = statistics_cache.content_digest(inputs.span_files)
            splits = {"span": inputs.span_files, "train": inputs.train_files}
            reused: dict[str, Path] = {}
            found = store.find(inputs.span, inputs.version, digest, content)
            if found is not None:
                reused["span"] = fetched(found.path)
            previous = store.previous(inputs.span, digest, skip=set(SpanStore(home).quarantined()))
            previous_span = None if previous is None else previous.span
            newest_older = max(inputs.older, default=None)
            if previous is not None and (newest_older is None or newest_older <= previous.span):
                reused["previous"] = fetched(previous.path)
            elif newest_older is not None:
                splits["previous"] = inputs.older[newest_older]
                previous_span = newest_older

            uri = Path(artifact.uri)
            outputs = {name: uri / f"Split-{name}" / statistics_cache.FILE for name in [*splits, *reused]}
            for out in outputs.values():
                out.parent.mkdir(parents=True, exist_ok=True)
            for name, source in reused.items():
                outputs[name].write_bytes(source.read_bytes())
            options = in_process.options(
                schema, exec_properties["label"], exec_properties["task"], exec_properties["time"]
            )
            todo = {name: files for name, files in splits.items() if name not in reused}
            if path == "beam":
                with self.beam_pipeline() as pipeline:
                    for name, files in todo.items():
                        in_process.attach(pipeline, name, files, options, outputs[name])
            else:
                for name, found_now in in_process.in_process(todo, options).items():
                    outputs[name].write_bytes(found_now.SerializeToString())
            statistics = tfdv.load_stats_binary(str(outputs["span"]))
            if found is None:
                digests = statistics_cache.fingerprint(statistics.datasets[0])
                store.save(statistics, inputs.span, inputs.version, digest, content, digests)

            artifact.split_names = json.dumps(
                ["span", "train", *(["previous"] if "previous" in outputs else [])]
            )
            artifact.span = inputs.span
            for name in ("rows", "spans", "span_versions", "mode"):
                if value := examples.get_string_custom_property(name):
                    artifact.set_string_custom_property(name, value)
            artifact.set_int_custom_property("previous_span", -1 if previous_span is None else previous_span)
            stage.note(
                rows=int(statistics.datasets[0].num_examples),
                reused=",".join(sorted(reused)) or "nothing",
                previous=previous_span,
            )


def find(examples: types.Artifact) -> ExampleFiles:
    """Lists the example files of each split.

    Raises:
      DataError: there is no file of the newest span.
    """
    root = Path(examples.uri)
    span = int(examples.span)
    train = sorted((root / "Split-train").glob("*.gz"))
    newest = [path for path in train if path.name.startswith(f"span-{span:08d}-")]
    span_files = newest + sorted((root / "Split-eval").glob("*.gz"))
    if not span_files:
        raise DataError(
            f"the examples hold no row of span {span}",
            where=root,
            next_step="check the files of SpanExampleGen; their names are span-<id>-...gz",
        )
    older: dict[int, list[Path]] = {}
    for path in train:
        kind, number = path.name.split("-")[:2]
        if kind == "span" and int(number) < span:
            older.setdefault(int(number), []).append(path)
    versions = json.loads(examples.get_string_custom_property("span_versions") or "{}")
    return ExampleFiles(span, int(versions.get(str(span), 1)), span_files, train, older)
