"""The configuration of TF Serving for a model directory: written so that a server that reads it again never errs."""

from pathlib import Path

from google.protobuf import text_format

from noria.core import files
from noria.serving.protos import model_server_config_pb2
from noria.serving.tf_serving_config import PLATFORM, PROMETHEUS_PATH

MODELS, MONITORING, BATCHING = "models.config", "monitoring.config", "batching.config"


def write(
    folder: Path,
    name: str,
    base_path: str,
    versions: dict[str, int],
    available: set[int],
    max_batch_rows: int = 128,
    max_waiting: int = 1024,
    threads: int = 2,
) -> dict[str, int]:
    """Writes the three files, each in one step, and only where they change.

    TF Serving refuses a configuration with a label on a version that has not loaded, so labels take two writes: the
    first without those that are not available yet, the second when GetModelStatus says that they are.

    Args:
      folder: where to.
      name: the model's name.
      base_path: the model directory as the server sees it.
      versions: version by label; they are what is loaded, or the newest if there are none.
      available: versions that the server has loaded.
      max_batch_rows, max_waiting, threads: of its batching.

    Returns:
      The labels that are not written yet.
    """
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    if versions:
        model.model_version_policy.specific.versions.extend(sorted(set(versions.values())))
    later = {label: number for label, number in versions.items() if number not in available}
    for label, number in versions.items():
        if label not in later:
            model.version_labels[label] = number
    texts = {
        MODELS: text_format.MessageToString(config),
        MONITORING: f'prometheus_config {{\n  enable: true\n  path: "{PROMETHEUS_PATH}"\n}}\n',
        BATCHING: (
            f"max_batch_size {{ value: {max_batch_rows} }}\n"
            "batch_timeout_micros { value: 0 }\n"
            f"max_enqueued_batches {{ value: {max(1, max_waiting // max_batch_rows)} }}\n"
            f"num_batch_threads {{ value: {threads} }}\n"
        ),
    }
    for file, text in texts.items():
        path = folder / file
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            files.write_text(path, text)
    return later
