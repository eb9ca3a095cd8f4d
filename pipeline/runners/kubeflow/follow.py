"""Polls runs until they end. A lost connection does not affect a run, so polling continues."""

import time
from collections.abc import Callable, Iterator

from noria.core.errors import ClusterError, LockedError
from noria.pipeline.runners.kubeflow.kfp_client import Cluster
from noria.pipeline.runners.kubeflow.records import Run

PATIENCE = 600.0  # seconds without an answer, in addition to each request's retries


def follow(
    cluster: Cluster,
    run: Run,
    timeout: float | None = None,
    on_loss: Callable[[ClusterError], None] = lambda error: None,
    patience: float = PATIENCE,
) -> Iterator[Run]:
    """The run at each poll; the last one is finished, unless `timeout` comes first.

    Args:
      timeout: seconds to follow it for; None: until its end.
      on_loss: called once each time the server stops answering.
      patience: seconds without an answer after which to give up.

    Raises:
      ClusterError: the server stays unreachable, or refuses the request.
    """
    end = None if timeout is None else time.monotonic() + timeout
    lost: float | None = None
    while True:
        try:
            run = cluster.get_run(run.id)
            lost = None
            yield run
            if run.over:
                return
        except ClusterError as error:
            if error.status == 404:
                raise ClusterError(
                    "the run no longer exists; somebody has deleted it",
                    where=run.link,
                    next_step="`noria runs` lists the runs",
                    status=404,
                ) from None
            if lost is None and error.passing:
                lost = time.monotonic()
                on_loss(error)
            if not error.passing or time.monotonic() - (lost or 0.0) > patience:
                raise ClusterError(
                    f"the run continues, but can no longer be followed: {error.what}",
                    where=run.link,
                    next_step=error.next_step,
                    status=error.status,
                ) from None
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return
        time.sleep(cluster.connection.poll if left is None else min(cluster.connection.poll, left))


def wait_for_others(
    cluster: Cluster, name: str, seconds: float, on_wait: Callable[[Run], None] = lambda run: None
) -> bool:
    """Waits until no run of the pipeline of that name is active: two at once would run on the same span.

    Somebody may start one right after. The stores' locks keep the registry consistent even then.

    Args:
      seconds: to wait at most; 0 fails at once.
      on_wait: called once for each run that is waited for.

    Returns:
      Whether there was one.

    Raises:
      LockedError: one is still active.
      ClusterError: the server refuses or does not answer.
    """
    end = time.monotonic() + seconds
    waited: set[str] = set()
    while (run := cluster.unfinished(name)) is not None:
        left = end - time.monotonic()
        if left <= 0:
            raise LockedError(
                f"a run of this project is {run.state.lower()}: {run.name}",
                where=run.link,
                next_step="wait for its end with --wait-for-running SECONDS, or terminate it in the web interface",
            )
        if run.id not in waited:
            waited.add(run.id)
            on_wait(run)
        time.sleep(min(cluster.connection.poll, left))
    return bool(waited)
