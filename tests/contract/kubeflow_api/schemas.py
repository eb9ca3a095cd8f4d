"""The v2beta1 API of Kubeflow Pipelines, as far as Noria uses it: calls, and JSON schemas of what goes each way.

Restated from `backend/api/v2beta1/swagger/kfp_api_single_file.swagger.json` (kubeflow/pipelines 2.17), tightened:
no property that is not published, and what must be there must be there. 64-bit integers are strings in an answer
and either in a request, as protobuf's JSON has it. `test_schemas.py` holds the properties and the states to the
models that kfp-server-api generates from that file.
"""

import dataclasses
import re
from typing import Any

STATES = (
    "RUNTIME_STATE_UNSPECIFIED",
    "PENDING",
    "RUNNING",
    "SUCCEEDED",
    "SKIPPED",
    "FAILED",
    "CANCELING",
    "CANCELED",
    "PAUSED",
)
# Not published, but the SDK's own wait ends on it, so a server may say it.
UNPUBLISHED_STATES = ("ERROR",)
OPERATIONS = (
    "EQUALS",
    "NOT_EQUALS",
    "GREATER_THAN",
    "GREATER_THAN_EQUALS",
    "LESS_THAN",
    "LESS_THAN_EQUALS",
    "IN",
)
MODES = ("MODE_UNSPECIFIED", "ENABLE", "DISABLE")
STATUSES = ("STATUS_UNSPECIFIED", "ENABLED", "DISABLED")
STORAGE = ("STORAGE_STATE_UNSPECIFIED", "AVAILABLE", "ARCHIVED")

TEXT: dict[str, Any] = {"type": "string"}
WORD: dict[str, Any] = {"type": "string", "minLength": 1}
TIME: dict[str, Any] = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
}
FREE: dict[str, Any] = {"type": "object"}
BOOL: dict[str, Any] = {"type": "boolean"}
INT32: dict[str, Any] = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
DIGITS: dict[str, Any] = {"type": "string", "pattern": r"^-?\d+$"}
INT64: dict[str, Any] = {"anyOf": [DIGITS, {"type": "integer"}]}


def thing(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def listed(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


STATUS = thing(
    "message", code=INT32, message=TEXT, details=listed({"type": "object", "properties": {"@type": WORD}})
)
# What the upload handlers say instead; they are not gRPC (pipeline_upload_server.go, writeErrorToResponse).
UPLOAD_ERROR = thing("error_message", error_message=TEXT, error_details=TEXT)
HEALTH = thing("", multi_user=BOOL, pipeline_store=TEXT)
REFERENCE = thing("pipeline_id", pipeline_id=WORD, pipeline_version_id=WORD)
RUNTIME_CONFIG = thing("", parameters=FREE, pipeline_root=TEXT)
STATE = {"enum": [*STATES, *UNPUBLISHED_STATES]}
STATE_CHANGE = thing("state", update_time=TIME, state=STATE, error=STATUS)
# kfp itself says 1 for EQUALS and stringValue: protobuf's JSON reads numbers and camel case as well.
FILTER = thing(
    "predicates",
    predicates=listed(
        thing(
            "operation key",
            operation={"enum": [1, *OPERATIONS]},
            key=WORD,
            string_value=TEXT,
            stringValue=TEXT,
        )
    ),
)

PIPELINE = dict(
    pipeline_id=WORD,
    display_name=WORD,
    name=WORD,
    description=TEXT,
    created_at=TIME,
    namespace=TEXT,
    error=STATUS,
)
VERSION = dict(
    pipeline_id=WORD,
    pipeline_version_id=WORD,
    display_name=WORD,
    name=WORD,
    description=TEXT,
    created_at=TIME,
    code_source_url=TEXT,
    pipeline_spec=FREE,
    error=STATUS,
)
EXPERIMENT = dict(
    experiment_id=WORD,
    display_name=WORD,
    description=TEXT,
    created_at=TIME,
    namespace=TEXT,
    storage_state={"enum": list(STORAGE)},
)
TASK = dict(
    run_id=WORD,
    task_id=WORD,
    display_name=WORD,
    create_time=TIME,
    start_time=TIME,
    end_time=TIME,
    state=STATE,
    error=STATUS,
    parent_task_id=TEXT,
    state_history=listed(STATE_CHANGE),
    pod_name=TEXT,
)
# After ML Metadata (kubeflow/pipelines#13986); no generated client has it yet.
NATIVE_TASK = dict(
    run_id=WORD,
    task_id=WORD,
    name=WORD,
    display_name=WORD,
    type={"enum": ["ROOT", "RUNTIME", "CONDITION", "EXIT_HANDLER", "DAG"]},
    create_time=TIME,
    end_time=TIME,
    state={"enum": ["RUNTIME_STATE_UNSPECIFIED", "RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CACHED"]},
    status_metadata=thing("", message=TEXT, custom_properties=FREE),
)
RUN_DETAILS = dict(
    pipeline_context_id=DIGITS, pipeline_run_context_id=DIGITS, task_details=listed(thing("task_id", **TASK))
)
RUN = dict(
    experiment_id=WORD,
    run_id=WORD,
    display_name=WORD,
    storage_state={"enum": list(STORAGE)},
    description=TEXT,
    pipeline_spec=FREE,
    pipeline_version_reference=REFERENCE,
    runtime_config=RUNTIME_CONFIG,
    service_account=TEXT,
    created_at=TIME,
    scheduled_at=TIME,
    finished_at=TIME,
    state=STATE,
    error=STATUS,
    run_details=thing("", **RUN_DETAILS),
    task_count=INT32,
    tasks=listed(thing("task_id name state", **NATIVE_TASK)),
    recurring_run_id=WORD,
    state_history=listed(STATE_CHANGE),
)


def trigger(int64: dict[str, Any]) -> dict[str, Any]:
    cron = thing("cron", start_time=TIME, end_time=TIME, cron=WORD)
    periodic = thing("interval_second", start_time=TIME, end_time=TIME, interval_second=int64)
    one = thing("", cron_schedule=cron, periodic_schedule=periodic)
    return {**one, "minProperties": 1, "maxProperties": 1}


def recurring(int64: dict[str, Any]) -> dict[str, Any]:
    return dict(
        recurring_run_id=WORD,
        display_name=WORD,
        description=TEXT,
        pipeline_spec=FREE,
        pipeline_version_reference=REFERENCE,
        runtime_config=RUNTIME_CONFIG,
        service_account=TEXT,
        max_concurrency=int64,
        trigger=trigger(int64),
        mode={"enum": list(MODES)},
        created_at=TIME,
        updated_at=TIME,
        status={"enum": list(STATUSES)},
        error=STATUS,
        no_catchup=BOOL,
        namespace=TEXT,
        experiment_id=WORD,
    )


RECURRING_RUN = recurring(DIGITS)


def without(properties: dict[str, Any], outputs: str) -> dict[str, Any]:
    """What a request may say: all but what only the server says."""
    return {name: each for name, each in properties.items() if name not in outputs.split()}


NEW_EXPERIMENT = thing("display_name", **without(EXPERIMENT, "experiment_id created_at storage_state"))
NEW_RUN = {
    **thing(
        "display_name runtime_config",
        **without(
            RUN,
            "run_id storage_state created_at scheduled_at finished_at state error run_details state_history "
            "task_count tasks",
        ),
    ),
    "oneOf": [{"required": ["pipeline_spec"]}, {"required": ["pipeline_version_reference"]}],
}
NEW_RECURRING_RUN = {
    **thing(
        "display_name runtime_config trigger mode max_concurrency",
        **without(recurring(INT64), "recurring_run_id created_at updated_at status error namespace"),
    ),
    "oneOf": [{"required": ["pipeline_spec"]}, {"required": ["pipeline_version_reference"]}],
}


def page(**items: Any) -> dict[str, Any]:
    return thing("", total_size=INT32, next_page_token=TEXT, **items)


# An uploaded package, as the backend reads it: the specification, then the platform's part.
SPECIFICATION = {
    "type": "object",
    "required": ["pipelineInfo", "schemaVersion", "root", "deploymentSpec"],
    "properties": {
        "pipelineInfo": {"type": "object", "required": ["name"]},
        "schemaVersion": {"const": "2.1.0"},
        "root": {"type": "object", "required": ["dag"]},
    },
}
PLATFORM = thing("platforms", platforms={"type": "object", "required": ["kubernetes"]})

PAGED = ("page_token", "page_size", "sort_by", "filter")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call: what may be asked, and what is answered."""

    operation: str
    method: str
    path: str  # below /apis/v2beta1; {…} is an identifier
    answer: dict[str, Any]
    request: dict[str, Any] | None = None
    query: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    upload: bool = False

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The path's identifiers; None where this is another call."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[0-9A-Za-z-]+)", self.path)
        found = re.fullmatch(pattern, path) if method == self.method else None
        return None if found is None else found.groupdict()


_RUN, _RECURRING = thing("run_id state", **RUN), thing("recurring_run_id", **RECURRING_RUN)
_PIPELINE, _VERSION = thing("pipeline_id", **PIPELINE), thing("pipeline_version_id pipeline_id", **VERSION)
_EXPERIMENT = thing("experiment_id", **EXPERIMENT)
CALLS = (
    Call("health", "GET", "/healthz", HEALTH),
    Call(
        "list_experiments",
        "GET",
        "/experiments",
        page(experiments=listed(_EXPERIMENT)),
        query=(*PAGED, "namespace"),
    ),
    Call("create_experiment", "POST", "/experiments", _EXPERIMENT, NEW_EXPERIMENT),
    Call(
        "list_pipelines", "GET", "/pipelines", page(pipelines=listed(_PIPELINE)), query=(*PAGED, "namespace")
    ),
    Call(
        "list_versions",
        "GET",
        "/pipelines/{pipeline_id}/versions",
        page(pipeline_versions=listed(_VERSION)),
        query=PAGED,
    ),
    Call("get_version", "GET", "/pipelines/{pipeline_id}/versions/{pipeline_version_id}", _VERSION),
    Call(
        "upload_pipeline",
        "POST",
        "/pipelines/upload",
        _PIPELINE,
        query=("name", "display_name", "description", "namespace"),
        required=("name",),
        upload=True,
    ),
    Call(
        "upload_version",
        "POST",
        "/pipelines/upload_version",
        _VERSION,
        query=("name", "display_name", "pipelineid", "description"),
        required=("name", "pipelineid"),
        upload=True,
    ),
    Call("list_runs", "GET", "/runs", page(runs=listed(_RUN)), query=(*PAGED, "namespace", "experiment_id")),
    Call("create_run", "POST", "/runs", _RUN, NEW_RUN, query=("experiment_id",)),
    Call("get_run", "GET", "/runs/{run_id}", _RUN, query=("experiment_id", "view")),
    Call(
        "list_recurring_runs",
        "GET",
        "/recurringruns",
        page(recurringRuns=listed(_RECURRING)),
        query=(*PAGED, "namespace", "experiment_id"),
    ),
    Call("create_recurring_run", "POST", "/recurringruns", _RECURRING, NEW_RECURRING_RUN),
    Call("disable_recurring_run", "POST", "/recurringruns/{recurring_run_id}:disable", thing()),
    Call("enable_recurring_run", "POST", "/recurringruns/{recurring_run_id}:enable", thing()),
    Call(
        "delete_recurring_run",
        "DELETE",
        "/recurringruns/{recurring_run_id}",
        thing(),
        query=("propagation_policy",),
    ),
)
