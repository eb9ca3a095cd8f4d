"""One execution of Transform, in this process or on Beam."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from noria.components import batch_cache, execution, journal
from noria.components.internals import tft as tft_internals
from noria.components.internals import tft_beam as tft_beam_internals
from noria.components.transform import analyze, analyzer_cache, apply, coverage, reuse
from noria.components.transform.example_rows import ExampleRows
from noria.components.transform.request import Request
from noria.core import user_code
from noria.core.code_digest import local_modules
from noria.core.errors import ConfigError, did_you_mean


class TransformJob:
    """Analyses and transforms the examples of a request.

    Attributes:
      path: 'in-process' or 'beam'.
      path_reason: why.
      rows: transformed rows so far.
    """

    def __init__(
        self,
        request: Request,
        function: Callable[..., Any],
        now: reuse.Record,
        temp_dir: str,
        make_pipeline: Callable[[], Any] | None,
        beam_args: list[Any],
        stage: journal.Stage,
    ):
        self.request = request
        self.rows = 0
        self._function = function
        self._now = now
        self._temp_dir = temp_dir
        self._make_pipeline = make_pipeline or _direct_pipeline
        self._stage = stage
        self._source: ExampleRows | None = None
        self._beam_scratch = f"{request.graph.rstrip('/')}.tmp"
        size = sum(os.path.getsize(file) for split in request.splits for file in request.files(split))
        self.path, self.path_reason = execution.choose(request.execution, size, beam_args)

    def apply(self, graph: str, split: str, vocabularies: Iterable[str]) -> coverage.Coverage:
        """Transforms a split; counts the rows outside these vocabularies."""
        sizes = _sizes(graph, vocabularies)
        files = self.request.outputs(split)
        if self.path == "beam":
            from noria.components.transform import beam_path

            counted = beam_path.apply(
                self._make_pipeline, graph, self.request.schema, files, sizes, self._scratch(f"apply-{split}")
            )
        else:
            counted = apply.apply(apply.load(graph), self._read(), files, sizes)
        self.rows += counted.rows
        return counted

    def refresh(self) -> reuse.Record:
        """Analyses the train split, writes the transform graph, transforms the train split.

        Returns:
          The record for the new transform graph.
        """
        self.rows = 0  # those that the champion's graph transformed do not count
        traced = self._trace()
        if self.path != "beam":
            try:
                self._analyze_in_process(traced)
            except analyze.NotCovered as gap:
                if self.request.execution == "in-process":
                    raise ConfigError(
                        f"execution is in-process, but only Beam supports {gap}",
                        where=self.request.preprocessing,
                        next_step="set execution: auto, or use another analyzer",
                    ) from gap
                self.path, self.path_reason = "beam", f"only Beam supports {gap}"
        if self.path == "beam":
            self._analyze_in_beam()
        self._stage.note(path=self.path, path_reason=self.path_reason)
        graph = self.request.graph
        measured, unmeasured = _vocabularies(graph)
        counted = self.apply(graph, "train", measured)
        return dataclasses.replace(
            self._now, rows=counted.rows, outside=counted.shares(), unmeasured=unmeasured
        )

    def _analyze_in_process(self, traced: tft_internals.Traced) -> None:
        request = self.request
        datasets = self._datasets()
        cache = self._cache()
        known = cache.read(datasets)
        done = analyze.analyze(traced, self._read(), analyze.Datasets(datasets, known))
        tft_internals.write_transform_output(
            done.saved_model, request.schema, traced.asset_map, request.graph
        )
        cache.write(done.cache)
        self._stage.note(
            passes=done.passes,
            rows_analysed=done.rows_read,
            datasets=len(datasets),
            datasets_known=len(known),
        )

    def _analyze_in_beam(self) -> None:
        from noria.components.transform import beam_path

        request = self.request
        beam_path.analyze(
            self._make_pipeline,
            self._function,
            request.schema,
            self._datasets(),
            self._cache(),
            request.graph,
            self._scratch("analyze"),
        )

    def _trace(self) -> tft_internals.Traced:
        """Traces the function, and checks its result.

        Raises:
          ConfigError: it does not return a dict of tensors with the label.
        """
        request = self.request
        specs = self._read().specs
        missing: list[str] = []
        try:
            traced = tft_internals.trace(
                lambda inputs: self._function(_Columns(inputs, missing)), specs, self._scratch("trace")
            )
        except Exception as error:  # the user's code does what it wants with a missing column
            if not missing:
                raise
            name = missing[-1]
            raise ConfigError(
                f"{request.preprocessing} reads the column {name!r}, which the schema does not have",
                where=_location(error, request),
                next_step=did_you_mean(name, specs) or f"the schema has {', '.join(specs)}",
            ) from error
        outputs = traced.outputs
        problem = None
        if not isinstance(outputs, Mapping) or not outputs:
            problem = f"returned {type(outputs).__name__}, expected a dict of tensors by feature name"
        elif request.label and request.label not in outputs:
            problem = f"does not pass the label {request.label!r} through; it returned {', '.join(outputs)}"
        elif tft_internals.trainable_variables(traced):
            problem = "created trainable variables, which belong to the model"
        if problem:
            raise ConfigError(
                f"{request.preprocessing} {problem}",
                where=user_code.where_defined(request.preprocessing, request.project),
                next_step=f"return {{..., {request.label!r}: inputs[{request.label!r}]}}",
            )
        return traced

    def _datasets(self) -> dict[tft_beam_internals.DatasetKey, list[str]]:
        """The train files by span. Each run has another replay sample, which is therefore not cached."""
        groups: dict[str, list[str]] = {}
        for file in self.request.files("train"):
            groups.setdefault(analyzer_cache.group_name(file), []).append(file)
        return {
            analyzer_cache.dataset_key(
                files, cached=bool(self.request.home) and not name.startswith("replay")
            ): files
            for name, files in groups.items()
        }

    def _cache(self) -> analyzer_cache.AnalyzerCache:
        return analyzer_cache.AnalyzerCache(self.request.home, self._now.code_digest, self._now.schema_digest)

    def _read(self) -> ExampleRows:
        if self._source is None:
            os.makedirs(self.request.transformed, exist_ok=True)
            self._source = ExampleRows(self.request.schema, self.request.transformed)
        return self._source

    def uncache(self, split: str) -> None:
        """Removes a split's raw rows from the batch cache, to make room for transformed ones."""
        for file in self.request.files(split):
            batch_cache.examples.remove(file)

    def clean(self) -> None:
        """Deletes the scratch folder of Beam."""
        shutil.rmtree(self._beam_scratch, ignore_errors=True)

    def _scratch(self, name: str) -> str:
        """A scratch folder; for Beam beside the output, where all workers can read and write."""
        base = self._beam_scratch if self.path == "beam" else self._temp_dir
        folder = os.path.join(base, name)
        os.makedirs(folder, exist_ok=True)
        return folder


class _Columns(dict[str, Any]):
    """The raw columns; records missing names, which TensorFlow's errors do not show."""

    def __init__(self, columns: Mapping[str, Any], missing: list[str]):
        super().__init__(columns)
        self._missing = missing

    def __missing__(self, name: str) -> Any:
        self._missing.append(str(name))
        raise KeyError(name)


def _vocabularies(graph: str) -> tuple[list[str], list[str]]:
    """The graph's vocabularies with the name of an integer output feature, and the others."""
    output = tft_internals.TransformOutput(graph)
    spec = output.transformed_feature_spec()
    integer = {name for name, feature in spec.items() if feature.dtype == tft_internals.tf.int64}
    names = tft_internals.vocabulary_files(graph)
    return [name for name in names if name in integer], [name for name in names if name not in integer]


def _sizes(graph: str, names: Iterable[str]) -> dict[str, int]:
    output = tft_internals.TransformOutput(graph)
    return {name: output.vocabulary_size_by_name(name) for name in names}


def _location(error: BaseException, request: Request) -> str | None:
    module, _ = user_code.split_path(request.preprocessing)
    return user_code.where_it_failed(
        error, {str(file) for file in local_modules(module, request.project).values()}
    )


def _direct_pipeline() -> Any:
    import apache_beam as beam

    return beam.Pipeline(argv=["--runner=DirectRunner", "--direct_running_mode=in_memory"])
