"""TF Serving's configuration files: protobuf in text format.

`ModelServerConfig` has its message in tensorflow-serving-api, which lacks the other files': `fields` reads those.
"""

import re
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from noria.core.errors import ConfigError
from noria.serving.protos import model_server_config_pb2

__all__ = ["batching_parameters", "prometheus_path", "read_models", "single_model", "ssl_texts"]

PLATFORM = "tensorflow"
PROMETHEUS_PATH = "/monitoring/prometheus/metrics"

_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*\s*)*(?:([A-Za-z_]\w*)|([-+]?[\d.]\w*)|"""
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([:{}<>,;\[\]]))"""
)
_BATCHING = {
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "thread_pool_name",
    "enable_large_batch_splitting",
    "max_execution_batch_size",
    "allowed_batch_sizes",
    "pad_variable_length_inputs",
}


def single_model(name: str, base_path: str) -> Any:
    """The ModelServerConfig of one model with TF Serving's default policy: its newest version."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def read_models(path: Path) -> Any:
    """A ModelServerConfig from a file.

    Raises:
      ConfigError: it cannot be read or parsed.
    """
    config = model_server_config_pb2.ModelServerConfig()
    try:
        return text_format.Parse(_read(path), config)
    except text_format.ParseError as error:
        raise _unreadable("ModelServerConfig", path, error) from error


def batching_parameters(path: Path) -> dict[str, Any]:
    """The BatchingParameters in a file, as far as they are set: `max_batch_size` and others.

    Raises:
      ConfigError: it cannot be read or parsed, or has an unknown field.
    """
    found = fields("BatchingParameters", path)
    unknown = sorted(found.keys() - _BATCHING)
    if unknown:
        raise _unreadable("BatchingParameters", path, f'no field named "{unknown[0]}"')
    return {key: value["value"] if isinstance(value, dict) else value for key, value in found.items()}


def prometheus_path(path: Path) -> str | None:
    """Where a MonitoringConfig wants the metrics; None if it does not.

    Raises:
      ConfigError: it cannot be read or parsed.
    """
    found = fields("MonitoringConfig", path).get("prometheus_config", {})
    return (found.get("path") or PROMETHEUS_PATH) if found.get("enable") else None


def ssl_texts(path: Path) -> dict[str, Any]:
    """An SSLConfig: `server_key`, `server_cert`, `custom_ca`, `client_verify`; the texts of PEM files.

    Raises:
      ConfigError: it cannot be read or parsed.
    """
    return fields("SSLConfig", path)


def fields(kind: str, path: Path) -> dict[str, Any]:
    """Text format as dicts. A repeated field has its last value.

    Raises:
      ConfigError: it cannot be read, or is not in text format.
    """
    text = _read(path)
    tokens, start = [], 0
    while text[start:].strip() and not re.fullmatch(r"\s*(#[^\n]*\s*)*", text[start:]):
        match = _TOKEN.match(text, start)
        if match is None:
            raise _unreadable(kind, path, f"character {start + 1}: {text[start : start + 20]!r}")
        tokens.append(match)
        start = match.end()
    try:
        found, rest = _message(tokens, 0, None)
    except (IndexError, ValueError) as error:
        raise _unreadable(kind, path, error) from error
    assert rest == len(tokens)
    return found


def _message(tokens: list[Any], position: int, end: str | None) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while position < len(tokens):
        name, symbol = tokens[position][1], tokens[position][4]
        if symbol in (",", ";"):
            position += 1
            continue
        if symbol is not None and symbol == end:
            return found, position + 1
        if name is None:
            raise ValueError(f"expected the name of a field, got {tokens[position][0].strip()!r}")
        position += 1
        colon = tokens[position][4] == ":"
        position += colon
        if tokens[position][4] in ("{", "<"):
            found[name], position = _message(tokens, position + 1, {"{": "}", "<": ">"}[tokens[position][4]])
        elif colon:
            found[name], position = _scalar(tokens, position)
        else:
            raise ValueError(f'expected ":" or "{{" after {name}')
    if end is not None:
        raise ValueError(f'expected "{end}" before the end')
    return found, position


def _scalar(tokens: list[Any], position: int) -> tuple[Any, int]:
    word, number, text, symbol = tokens[position].groups()
    if symbol is not None:
        raise ValueError(f"expected a value, got {symbol!r}")
    if text is not None:
        parts = []
        while position < len(tokens) and tokens[position][3] is not None:  # adjacent strings are one
            parts.append(tokens[position][3][1:-1].encode().decode("unicode_escape"))
            position += 1
        return "".join(parts), position
    if word is not None:
        return {"true": True, "false": False}.get(word, word), position + 1
    return (int(number, 0) if re.fullmatch(r"[-+]?(0x)?\w+", number) else float(number)), position + 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the file cannot be read", where=path, next_step=f"check the path and its rights ({error})"
        ) from error


def _unreadable(kind: str, path: Path, error: object) -> ConfigError:
    return ConfigError(
        f"Error parsing text-format tensorflow.serving.{kind}: {error}",
        where=path,
        next_step="correct the file; tensorflow.org/tfx/serving/serving_config shows its form",
    )
