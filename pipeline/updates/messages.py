"""From the registry's events to CloudEvents (1.0, https://cloudevents.io)."""

import datetime
from typing import Any

from noria.core.errors import ConfigError
from noria.stores.versions import State, Version

__all__ = ["TYPE", "cloud_event", "update_of"]

TYPE = "dev.noria.model_update"


def update_of(event: dict[str, Any], state: State) -> dict[str, Any] | None:
    """What an event of the registry means for others; None where it means nothing to them.

    Args:
      event: of the registry's log.
      state: of the registry; only what never changes is read from it, so an event has the same data each time.

    Returns:
      `change` (`published`, `rolled_back` or `quarantined`), and fields of the version.
    """
    kind = event["kind"]
    if kind == "published":
        version = state.versions[event["version"]]
        return {"change": "published", "model_dir": event["model_dir"], **_fields(version)}
    if kind == "rolled_back":
        details = {name: event[name] for name in ("reason", "actor", "model_dir")}
        from_version = event["version"]
        return {
            "change": "rolled_back",
            "from": from_version,
            **details,
            **_fields(state.versions[event["to"]]),
        }
    if kind == "run" and event["run"].get("data_verdict") == "broken":
        names = ("span", "span_version", "run_id", "reasons")
        return {"change": "quarantined", **{name: event["run"].get(name) for name in names}}
    return None


def cloud_event(project: str, number: int, event: dict[str, Any], update: dict[str, Any]) -> bytes:
    """The update as a CloudEvent, structured JSON. Its id is the number of the registry's event.

    Raises:
      ConfigError: the package cloudevents is missing.
    """
    try:
        from cloudevents.core.formats.json import JSONFormat
        from cloudevents.core.v1.event import CloudEvent
    except ImportError:
        raise ConfigError(
            "model updates need the package cloudevents",
            where="config key updates",
            next_step="pip install 'noria[updates]'",
        ) from None
    about = "span" if update["change"] == "quarantined" else "version"
    attributes = {
        "id": str(number),
        "source": f"/noria/{project}",
        "type": TYPE,
        "subject": f"{about}/{update[about]}",
        "time": datetime.datetime.fromisoformat(event["at"]),
        "datacontenttype": "application/json",
    }
    return JSONFormat().write(CloudEvent(attributes, update))


def _fields(version: Version) -> dict[str, Any]:
    names = ("version", "parent", "mode", "span", "span_version", "spans", "run_id", "metrics", "created")
    return {name: getattr(version, name) for name in names}
