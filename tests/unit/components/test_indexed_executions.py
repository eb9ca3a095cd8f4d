"""The query for the executions behind a channel against TFX's own function, on a real ML Metadata store."""

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from noria.components.keras3 import ensure_keras3

ensure_keras3()

from tfx.orchestration.portable.input_resolution import channel_resolver  # noqa: E402  (after Keras 3 is fixed)

from noria.components.internals import tfx  # noqa: E402  (as above)


@pytest.fixture
def store(tmp_path) -> metadata_store.MetadataStore:
    """Four runs of three nodes, each execution in the contexts of its pipeline, its run and its node."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(config)
    kinds = ("pipeline", "pipeline_run", "node")
    types = {kind: store.put_context_type(metadata_store_pb2.ContextType(name=kind)) for kind in kinds}
    execution = store.put_execution_type(metadata_store_pb2.ExecutionType(name="Work"))

    def context(kind: str, name: str) -> metadata_store_pb2.Context:
        [number] = store.put_contexts([metadata_store_pb2.Context(type_id=types[kind], name=name)])
        return store.get_contexts_by_id([number])[0]

    mine, other = context("pipeline", "mine"), context("pipeline", "other")
    nodes = [context("node", f"mine.{node}") for node in range(3)]
    for number in range(4):
        run = context("pipeline_run", f"run-{number}")
        for node in nodes:
            work = metadata_store_pb2.Execution(type_id=execution)
            store.put_execution(work, [], [other if number == 3 else mine, run, node])
    return store


def test_the_query_finds_what_tfx_finds(store):
    """For every choice of contexts, none and a single one among them, the same executions."""
    contexts = store.get_contexts()
    choices = [[], *([one] for one in contexts), *([one, other] for one in contexts for other in contexts)]
    choices += [[contexts[0], run, node] for run in contexts[2:] for node in contexts[2:5]]
    slow = channel_resolver._get_executions_by_all_contexts
    found = 0
    for chosen in choices:
        expected = sorted(execution.id for execution in slow(store, chosen))
        assert expected == [execution.id for execution in tfx.executions(store, chosen)]
        found += len(expected)
    assert found > 50


def test_tfx_asks_by_the_query_inside_the_block_only(store):
    """The resolver's own function is back after the block, after an error too."""
    slow = channel_resolver._get_executions_by_all_contexts
    with pytest.raises(RuntimeError), tfx.indexed_executions():
        assert tfx.executions is channel_resolver._get_executions_by_all_contexts
        raise RuntimeError
    assert slow is channel_resolver._get_executions_by_all_contexts
