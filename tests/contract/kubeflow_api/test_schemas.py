"""The restated schemas against the models that kfp-server-api generates from the published file."""

import kfp_server_api
import pytest

from . import schemas

MODELS = {
    "V2beta1Experiment": schemas.EXPERIMENT,
    "V2beta1Pipeline": schemas.PIPELINE,
    "V2beta1PipelineVersion": schemas.VERSION,
    "V2beta1PipelineVersionReference": schemas.REFERENCE["properties"],
    "V2beta1RuntimeConfig": schemas.RUNTIME_CONFIG["properties"],
    "V2beta1Run": schemas.RUN,
    "V2beta1RunDetails": schemas.RUN_DETAILS,
    "V2beta1PipelineTaskDetail": schemas.TASK,
    "V2beta1RuntimeStatus": schemas.STATE_CHANGE["properties"],
    "V2beta1RecurringRun": schemas.RECURRING_RUN,
    "V2beta1Trigger": schemas.trigger(schemas.DIGITS)["properties"],
    "GoogleRpcStatus": schemas.STATUS["properties"],
}
ENUMS = {
    "V2beta1RuntimeState": schemas.STATES,
    "RecurringRunMode": schemas.MODES,
    "V2beta1RecurringRunStatus": schemas.STATUSES,
    "V2beta1RunStorageState": schemas.STORAGE,
}
OLDER_NAMES = {"GoogleRpcStatus": "GooglerpcStatus"}
# Published after the older lane's 2.0.5, or not in any generated client yet (`tasks`).
NEWER = {"name", "tags", "pipeline_store", "task_count", "tasks"}
LISTS = {
    "V2beta1ListRunsResponse": "list_runs",
    "V2beta1ListRecurringRunsResponse": "list_recurring_runs",
    "V2beta1ListExperimentsResponse": "list_experiments",
    "V2beta1ListPipelinesResponse": "list_pipelines",
    "V2beta1ListPipelineVersionsResponse": "list_versions",
}


@pytest.mark.parametrize("model", MODELS)
def test_properties_are_published(model: str) -> None:
    """Every property that the server may say or take is one of the generated model's."""
    generated = getattr(kfp_server_api, model, None) or getattr(kfp_server_api, OLDER_NAMES[model])
    published = set(generated.attribute_map.values())
    assert set() == set(MODELS[model]) - published - NEWER


@pytest.mark.parametrize("enum", ENUMS)
def test_words_are_published(enum: str) -> None:
    """States and modes are the published ones, all of them."""
    assert sorted(getattr(kfp_server_api, enum).allowable_values) == sorted(ENUMS[enum])


@pytest.mark.parametrize("model", LISTS)
def test_lists_are_published(model: str) -> None:
    """A list's properties are the generated model's; that of recurring runs is `recurringRuns`."""
    call = next(each for each in schemas.CALLS if each.operation == LISTS[model])
    published = set(getattr(kfp_server_api, model).attribute_map.values())
    assert published == set(call.answer["properties"])
