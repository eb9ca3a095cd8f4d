"""librdkafka's mock cluster in a separate process; its Kafka brokers can be restarted, and keep their events.

The package confluent-kafka does not offer all of the mock cluster, so the process calls librdkafka, which is in the
package, by ctypes. A partition keeps its newest 5 MB, compressed or not.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["MockCluster", "mock_cluster"]


class MockCluster:
    """A cluster that runs. `address` is for `bootstrap.servers`; brokers are numbered from 1."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        self.address = self._answer()

    def create_topic(self, name: str, partitions: int) -> None:
        self._ask("topic", name, partitions)

    def down(self, broker: int) -> None:
        """Closes all connections of a broker, and refuses new ones."""
        self._ask("down", broker)

    def up(self, broker: int) -> None:
        self._ask("up", broker)

    def _ask(self, *words: object) -> None:
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        assert "0" == self._answer(), f"the mock cluster refuses {words}"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def mock_cluster(brokers: int = 1, session_ms: int = 6_000) -> Iterator[MockCluster]:
    """A mock cluster, until the block ends.

    Args:
      brokers: how many.
      session_ms: after how long a member of a KIP-848 group is gone; members of other groups say it themselves.
    """
    command = [sys.executable, "-m", "tests.helpers.mock_cluster", str(brokers), str(session_ms)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield MockCluster(process)
    finally:
        process.kill()
        process.communicate()


def _serve(brokers: int, session_ms: int) -> None:
    """Makes the cluster, says where it is, and does what it is asked until the end of standard input."""
    import ctypes

    import confluent_kafka.cimpl

    library = ctypes.CDLL(confluent_kafka.cimpl.__file__)  # with librdkafka, which it is linked to
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = pointer
    library.rd_kafka_mock_cluster_bootstraps.restype = text
    said = ctypes.create_string_buffer(512)
    settings = pointer(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"log_level", b"0", said, len(said))
    client = pointer(library.rd_kafka_new(0, settings, said, len(said)))
    cluster = pointer(library.rd_kafka_mock_cluster_new(client, brokers))
    assert client and cluster, said.value
    library.rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster, session_ms)
    library.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, session_ms // 6)
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, session_ms // 6)
    print(library.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["topic", name, partitions]:
                failed = library.rd_kafka_mock_topic_create(cluster, name.encode(), int(partitions), 1)
            case ["down", broker]:
                failed = library.rd_kafka_mock_broker_set_down(cluster, int(broker))
            case ["up", broker]:
                failed = library.rd_kafka_mock_broker_set_up(cluster, int(broker))
            case _:
                failed = -1
        print(failed, flush=True)


if __name__ == "__main__":
    _serve(*map(int, sys.argv[1:]))
