"""What makes a model besides its data, in four named parts, each with a digest: what changed can be said by name.

A version's `code_digest` in the registry is the four digests in a row, so that equal models have equal digests and
`differing` names the parts in which two of them differ. Imports neither TFX nor TensorFlow.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from noria.core.code_digest import PACKAGES, code_digest, local_modules
from noria.core.errors import ConfigError
from noria.core.user_code import split_path
from noria.pipeline.config import Config

__all__ = ["differing", "digest", "files", "parts", "settings", "short", "source_digest"]

PARTS = ("preprocessing", "model", "schema", "settings")
DIGITS = 16  # of a part: 64 bits tell the states of one project apart
# Where and how fast a model is trained, not what comes out.
MACHINE = {"strategy", "devices", "cache", "memory_mb", "steps_per_call", "tensorboard"}


def parts(config: Config, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Each part's digest, 16 hexadecimal digits.

    preprocessing: the source of the `preprocessing_fn` and of the project's modules that it imports.
    model: the same of `trainer.run_fn` and of your own `trainer.family`.
    schema: the text of the schema's file.
    settings: `settings(config)`.

    Args:
      config: the project's settings.
      packages: installed packages whose versions count as code.

    Raises:
      ConfigError: a function's module cannot be found or is not valid Python, or the schema cannot be read.
    """
    project = str(config.folder)
    texts = {
        "preprocessing": code_digest(config.preprocessing, project, packages),
        "model": "".join(code_digest(path, project, packages) for path in _model_functions(config)),
        "schema": _text(config.schema_path),
        "settings": json.dumps(settings(config), sort_keys=True),
    }
    return {part: hashlib.sha256(texts[part].encode()).hexdigest()[:DIGITS] for part in PARTS}


def digest(config: Config) -> str:
    """The parts' digests in a row, 64 hexadecimal digits: a version's `code_digest`."""
    return "".join(parts(config).values())


def source_digest(config: Config) -> str:
    """The same without the versions of installed packages, which differ from machine to machine."""
    return "".join(parts(config, packages=()).values())


def differing(one: str, other: str) -> list[str]:
    """Names of the parts in which two digests differ."""
    spans = {part: slice(i * DIGITS, (i + 1) * DIGITS) for i, part in enumerate(PARTS)}
    return [part for part, span in spans.items() if one[span] != other[span]]


def short(code_digest: str) -> str:
    """Two digits of each part, for a column of a table."""
    return "".join(code_digest[i * DIGITS :][:2] for i in range(len(PARTS)))


def settings(config: Config) -> dict[str, object]:
    """The keys of the YAML file that make the model: what is trained on, and how.

    Not among them: places and names, gates (they judge a model), Beam and Kubeflow (they run it), how long versions are
    kept, and what only concerns the machine.
    """
    trainer = {key: value for key, value in config.trainer_settings().items() if key not in MACHINE}
    sections = config.model_dump(mode="json", include={"label", "task", "time", "span"})
    data = config.data.model_dump(mode="json", include={"columns", "types", "missing"})
    others = ("first", "twin")  # when there is a run
    window = {key: value for key, value in config.window_settings().items() if key not in others}
    return {**sections, "data": data, "window": window, "trainer": trainer}


def files(config: Config) -> dict[str, set[Path]]:
    """The files behind each part; of `settings` the YAML file, which holds other keys as well."""
    project = str(config.folder)

    def modules(*functions: str) -> set[Path]:
        found = [local_modules(split_path(path)[0], project) for path in functions]
        return {file.resolve() for each in found for file in each.values()}

    return {
        "preprocessing": modules(config.preprocessing),
        "model": modules(*_model_functions(config)),
        "schema": {config.schema_path.resolve()},
        "settings": {config.path.resolve()},
    }


def _model_functions(config: Config) -> list[str]:
    return [path for path in (config.trainer.run_fn, config.trainer.family) if "." in path]


def _text(schema: Path) -> str:
    try:
        return schema.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the schema cannot be read: {error}",
            where=schema,
            next_step="correct the config's `schema`; `noria init` drafts one from a table",
        ) from None
