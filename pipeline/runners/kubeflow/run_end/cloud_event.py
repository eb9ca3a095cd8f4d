"""A run's end as a CloudEvent (1.0, https://cloudevents.io, structured mode) to a web address."""

import datetime
import json
import os
from collections.abc import Mapping
from typing import Any

import urllib3

from noria.core.errors import ClusterError
from noria.pipeline.config.kubeflow import Notify

SECONDS = 10.0
RETRIES = urllib3.Retry(
    total=4,
    backoff_factor=0.5,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods={"POST"},  # `id` lets the receiver drop what comes twice
    raise_on_status=False,
)


def event(project: str, run_id: str, end: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a run's end; the same run gives the same `id`."""
    return {
        "specversion": "1.0",
        "id": f"{run_id}/end",
        "source": f"/noria/{project}",
        "type": f"noria.run.{end['outcome']}",
        "subject": run_id,
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "datacontenttype": "application/json",
        "data": dict(end),
    }


def send(notify: Notify, project: str, run_id: str, end: Mapping[str, Any]) -> None:
    """Posts the event.

    Raises:
      ClusterError: the address does not take it, or there is no token.
    """
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    if notify.token_variable:
        token = os.environ.get(notify.token_variable)
        if not token:
            raise ClusterError(
                f"the webhook was not told: {notify.token_variable} is not set in the task End",
                where="kubeflow.notify.token_variable",
                next_step="take it from a Secret: `kubeflow.secrets`",
            )
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(event(project, run_id, end), default=str).encode()
    try:
        answer = urllib3.PoolManager().request(
            "POST", notify.url, body=body, headers=headers, timeout=SECONDS, retries=RETRIES
        )
        problem = None if answer.status < 300 else f"it answered {answer.status}"
    except urllib3.exceptions.HTTPError as error:
        problem = str(error)
    if problem is not None:
        raise ClusterError(
            f"the webhook did not accept the message: {problem}",
            where=notify.url.partition("?")[0],
            next_step="correct `kubeflow.notify`; the address must be reachable from the cluster",
        )
