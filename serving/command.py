"""`tensorflow_model_server`: TF Serving's executable, with its flags.

Flags that choose something inside of TF Serving's own implementation are accepted, and named in the log.
"""

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

USAGE = "tensorflow_model_server --port=8500 --rest_api_port=8501 --model_name=NAME --model_base_path=/path"

_TEXTS = (
    "grpc_socket_path",
    "batching_parameters_file",
    "model_config_file",
    "model_base_path",
    "grpc_channel_arguments",
    "monitoring_config_file",
    "ssl_config_file",
)
# Without a meaning here.
_IGNORED_TEXTS = (
    "tensorflow_session_config_file",
    "platform_config_file",
    "thread_pool_factory_config_file",
    "mixed_precision",
)
_IGNORED_NUMBERS = (
    "rest_api_num_threads",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "grpc_max_threads",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "num_request_iterations_for_warmup",
    "per_process_gpu_memory_fraction",
    "tensorflow_inter_op_parallelism",
)
_IGNORED_FLAGS = (
    "enable_per_model_batching_parameters",
    "flush_filesystem_caches",
    "remove_unused_fields_from_bundle_metagraph",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "skip_initialize_tpu",
    "enable_serialization_as_tensor_content",
)
_FLAGS = (
    "rest_api_enable_cors_support",
    "enable_batching",
    "prefer_tflite_model",
    "allow_version_labels_for_unavailable_models",
    "enable_signature_method_name_check",
    "enable_grpc_healthcheck_service",
    "use_alts_credentials",
    "version",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is ended. Returns the exit code: 255 if it cannot start, as TF Serving."""
    given, unknown = _parser().parse_known_args(arguments)
    if unknown:
        print(f"unknown argument: {unknown[0]}\nusage: {USAGE}", flush=True)
    if given.version:
        import importlib.metadata

        print(f"TensorFlow ModelServer: noria {importlib.metadata.version('noria')}", flush=True)
        print(f"TensorFlow Library: {importlib.metadata.version('tensorflow')}", flush=True)
        return 0
    from noria.core.errors import NoriaError
    from noria.serving import server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for name in (*_IGNORED_TEXTS, *_IGNORED_NUMBERS, *_IGNORED_FLAGS):
        if getattr(given, name) is not None:
            logging.getLogger("noria.serving").warning("--%s has no meaning here", name)
    try:
        server.run(_settings(given))
    except NoriaError as error:
        print(f"{error}\nFailed to start server. Error: {error.what}", file=sys.stderr, flush=True)
        return 255
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tensorflow_model_server", usage=USAGE, allow_abbrev=False)
    add = parser.add_argument
    add("--port", type=int, default=8500)
    add("--rest_api_port", type=int, default=0)
    add("--rest_api_timeout_in_ms", type=int, default=30000)
    add("--model_name", default="default")
    add("--model_config_file_poll_wait_seconds", type=float, default=0)
    add("--file_system_poll_wait_seconds", type=float, default=1)
    add("--saved_model_tags", default="serve")
    add("--enable_profiler", type=_boolean, nargs="?", const=True, default=True)
    add("--enable_model_warmup", type=_boolean, nargs="?", const=True, default=True)
    for name in ("tensorflow_session_parallelism", "tensorflow_intra_op_parallelism"):
        add(f"--{name}", type=int, default=0)
    for name in _TEXTS:
        add(f"--{name}", default="")
    for name in _IGNORED_TEXTS:
        add(f"--{name}")
    for name in _IGNORED_NUMBERS:
        add(f"--{name}", type=float)
    for name in _FLAGS:
        add(f"--{name}", type=_boolean, nargs="?", const=True, default=False)
    for name in _IGNORED_FLAGS:
        add(f"--{name}", type=_boolean, nargs="?", const=True)
    return parser


def _settings(given: argparse.Namespace) -> Any:
    from noria.core.errors import ConfigError
    from noria.serving import server, tf_serving_config
    from noria.serving.batching import Limits
    from noria.serving.models import Options

    if given.use_alts_credentials:
        raise ConfigError("--use_alts_credentials is not supported.", next_step="use --ssl_config_file")
    if not given.port and not given.grpc_socket_path:
        raise ConfigError("At least one of --port or --grpc_socket_path must be set.")
    if not given.model_base_path and not given.model_config_file:
        raise ConfigError("Both --model_base_path and --model_config_file are empty!")
    if given.batching_parameters_file and not given.enable_batching:
        raise ConfigError("--batching_parameters_file is set without setting --enable_batching to true.")
    if given.model_config_file:
        models = tf_serving_config.read_models(Path(given.model_config_file))
    else:
        models = tf_serving_config.single_model(given.model_name, given.model_base_path)
    limits = Limits(merge=given.enable_batching)
    if given.batching_parameters_file:
        found = tf_serving_config.batching_parameters(Path(given.batching_parameters_file))
        rows = found.get("max_batch_size", limits.max_batch_rows)
        limits = dataclasses.replace(
            limits,
            max_batch_rows=rows,
            max_waiting=max(1, min(found.get("max_enqueued_batches", limits.max_waiting) * rows, 1 << 20)),
        )
    path = None
    if given.monitoring_config_file:
        path = tf_serving_config.prometheus_path(Path(given.monitoring_config_file))
    return server.Settings(
        models=models,
        host="0.0.0.0",
        rest_port=given.rest_api_port or None,
        grpc_port=given.port or None,
        grpc_socket=given.grpc_socket_path,
        rest_seconds=given.rest_api_timeout_in_ms / 1000,
        metrics_path=path,
        cors=given.rest_api_enable_cors_support,
        health=given.enable_grpc_healthcheck_service,
        profiler=given.enable_profiler,
        traces=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        grpc_credentials=_credentials(Path(given.ssl_config_file)) if given.ssl_config_file else None,
        channel=_channel(given.grpc_channel_arguments),
        models_file=Path(given.model_config_file) if given.model_config_file else None,
        models_file_seconds=given.model_config_file_poll_wait_seconds,
        options=Options(
            poll_seconds=given.file_system_poll_wait_seconds,
            limits=limits,
            any_label=given.allow_version_labels_for_unavailable_models,
            prefer_lite=given.prefer_tflite_model,
            check_method=given.enable_signature_method_name_check,
            warm=given.enable_model_warmup,
            tags=tuple(given.saved_model_tags.split(",")),
            threads=given.tensorflow_intra_op_parallelism or given.tensorflow_session_parallelism or 1,
        ),
    )


def _credentials(path: Path) -> Any:
    """gRPC's, from an SSLConfig."""
    from noria.core.errors import ConfigError
    from noria.serving import server, tf_serving_config

    found = tf_serving_config.ssl_texts(path)
    missing = [name for name in ("server_key", "server_cert") if not found.get(name)]
    if found.get("client_verify") and not found.get("custom_ca"):
        missing.append("custom_ca")
    if missing:
        raise ConfigError(f"the SSL configuration has no {missing[0]}", where=path)
    ca = found["custom_ca"].encode() if found.get("client_verify") else None
    return server.credentials(found["server_key"].encode(), found["server_cert"].encode(), ca)


def _channel(text: str) -> tuple[tuple[str, Any], ...]:
    """`key=value,key=value`: a value that is a number is passed as one."""
    pairs: list[tuple[str, Any]] = []
    for each in filter(None, text.split(",")):
        key, _, value = each.partition("=")
        try:
            pairs.append((key, int(value)))
        except ValueError:
            pairs.append((key, value))
    return tuple(pairs)


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "t", "y", "yes"):
        return True
    if text.lower() in ("false", "0", "f", "n", "no"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
