"""The warm-up file of a model holds a few real rows. It is signed and in the registry's digests, so it stays."""

from noria.pipeline.forgetting.keys import Keys
from noria.pipeline.forgetting.row_files import of_example
from noria.stores.model_directory import WARMUP_FILE
from noria.stores.versions import Version


def holds(version: Version, keys: Keys) -> bool:
    """Whether a version's warm-up requests hold a key."""
    folder = version.payload_path / "serving"
    if not (folder / WARMUP_FILE).is_file():
        return False
    from noria.serving.warmup import records

    return any(
        keys.in_record(of_example(example), "")
        for log in records(folder)
        for tensor in log.predict_log.request.inputs.values()
        if len(log.predict_log.request.inputs) == 1
        for example in tensor.string_val
    )
