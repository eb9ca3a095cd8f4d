"""The admin API: `/admin/rollouts/NAME`, for clients with the role `admin`; without an access file, on this machine.

GET  /admin/rollouts/NAME             the rollout, its guards and what they know
POST /admin/rollouts/NAME:start       {"version": 7, "mode": "canary"}, and any key of `serving.rollout`
POST /admin/rollouts/NAME:pause       {}
POST /admin/rollouts/NAME:abort       {"reason": "..."}
POST /admin/rollouts/NAME:promote     {"reason": "..."}
POST /admin/rollouts/NAME:labels      {"labels": [{"request_id": "...", "label": 1}]}
"""

import asyncio
import json
import re
from typing import Any
from urllib.parse import unquote

from noria.core.errors import NoriaError, ServingError
from noria.core.settings import validate
from noria.serving.access import CLIENT
from noria.serving.models import Models
from noria.serving.rollouts.operations import summary
from noria.serving.rollouts.settings import RolloutSettings

PATH = re.compile(r"/admin/rollouts/([^/:]+)(?::(start|pause|abort|promote|labels))?")
LOOPBACK = ("127.0.0.1", "::1")


def allowed(scope: Any) -> bool:
    """Whether a client may use the API where nobody says who it is: it is on this machine."""
    return bool(scope.get("client")) and scope["client"][0] in LOOPBACK


def _actor() -> str:
    return CLIENT.get() or "admin API"


async def answer(models: Models, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """HTTP status and JSON of a request."""
    match = PATH.fullmatch(path)
    judge = models.judges.get(unquote(match[1])) if match is not None else None
    if match is None or method != ("POST" if match[2] else "GET"):
        return _error(400, f"Malformed request: {method} {path}")
    if judge is None:
        return _error(404, f"there are no rollouts of a model {unquote(match[1])}")
    try:
        given = json.loads(body or b"{}")
        if not isinstance(given, dict):
            raise ValueError("the body must be a JSON object")
        if match[2] == "labels":
            labels = [(str(each["request_id"]), float(each["label"])) for each in given["labels"]]
            found = sum(judge.traffic.label(*each) for each in labels)
            await judge.keep()  # what is answered outlives a kill
            return 200, _text({"known": found, "unknown": len(labels) - found})
        return 200, _text(await asyncio.to_thread(_act, models, judge.rollouts, match[2], given))
    except NoriaError as error:
        return _error(409 if isinstance(error, ServingError) else 400, str(error.what))
    except (ValueError, KeyError, TypeError) as error:
        return _error(400, f"the body cannot be used: {error}")


def _act(models: Models, rollouts: Any, verb: str | None, given: dict[str, Any]) -> dict[str, Any]:
    if verb == "start":
        version = given.pop("version", None)
        defaults = models.options.rollouts.model_dump() if models.options.rollouts is not None else {}
        settings = validate(RolloutSettings, {**defaults, **given}, "serving.rollout")
        return summary(rollouts.start(version, settings, _actor()))
    if verb == "pause":
        return summary(rollouts.pause(_actor()))
    if verb in ("abort", "promote"):
        return summary(
            getattr(rollouts, verb)(str(given.get("reason") or f"{verb} by the admin API"), _actor())
        )
    found = rollouts.store.read()
    return summary(found) if found is not None else {}


def _text(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _error(status: int, message: str) -> tuple[int, bytes]:
    return status, _text({"error": message})
