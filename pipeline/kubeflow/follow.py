"""Looks at a run again and again until it ends. A lost connection does not harm the run, so it is waited out."""

import time
from collections.abc import Callable, Iterator

from noria.pipeline.kubeflow.client import Cluster, Run
from noria.stores.errors import ClusterError

PATIENCE = 600.0  # seconds without an answer, over and above each request's own retries


def follow(
    cluster: Cluster,
    run: Run,
    timeout: float | None = None,
    on_loss: Callable[[ClusterError], None] = lambda error: None,
    patience: float = PATIENCE,
) -> Iterator[Run]:
    """The run at each look; the last one is over, unless `timeout` came first.

    Args:
      timeout: seconds to look for at most; None: until the end.
      on_loss: told once of each time that the server stops answering.
      patience: seconds without an answer after which to give up.

    Raises:
      ClusterError: the server does not answer any more, or refuses to.
    """
    end = None if timeout is None else time.monotonic() + timeout
    lost: float | None = None
    while True:
        try:
            run = cluster.look(run.id)
            lost = None
            yield run
            if run.over:
                return
        except ClusterError as error:
            if error.status == 404:
                raise ClusterError(
                    "the run is not there any more; somebody has deleted it",
                    where=run.link,
                    next_step="`noria runs` shows those that are there",
                    status=404,
                ) from None
            if lost is None and error.passing:
                lost = time.monotonic()
                on_loss(error)
            if not error.passing or time.monotonic() - (lost or 0.0) > patience:
                raise ClusterError(
                    f"the run goes on, but cannot be watched any more: {error.what}",
                    where=run.link,
                    next_step=error.next_step,
                    status=error.status,
                ) from None
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return
        time.sleep(cluster.connection.poll if left is None else min(cluster.connection.poll, left))
