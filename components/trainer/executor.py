"""Makes TFX's FnArgs from the artifacts, and calls the run_fn."""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.components.artifacts import present, twin_of
from noria.components.trainer.batches import steps_of
from noria.components.trainer.settings import Settings
from noria.core.errors import ConfigError
from noria.core.settings import read_json
from noria.core.user_code import load_function


class Executor(base_executor.BaseExecutor):
    """Trains in this process."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Calls `run_fn(fn_args)`.

        Raises:
          ConfigError: the settings are wrong, run_fn cannot be imported, or run_fn has left no model.
        """
        with journal.stage("Trainer") as stage:
            settings = read_json(Settings, exec_properties.get("settings") or "{}", "trainer")
            run_fn = load_function(settings.run_fn, exec_properties.get("project"), "trainer.run_fn")
            fn_args = _fn_args(input_dict, output_dict, exec_properties, settings)
            fn_args.custom_config["stage"] = stage
            run_fn(fn_args)
            if settings.strategy == "multi_worker":
                from noria.components.trainer import strategy

                if not strategy.is_chief(settings):
                    return
            if not os.path.exists(os.path.join(fn_args.serving_model_dir, "saved_model.pb")):
                raise ConfigError(
                    "run_fn has returned without a SavedModel",
                    where=f"config key trainer.run_fn: {settings.run_fn}",
                    next_step="let it save the model to fn_args.serving_model_dir",
                )


def _fn_args(
    input_dict: dict[str, list[types.Artifact]],
    output_dict: dict[str, list[types.Artifact]],
    exec_properties: dict[str, Any],
    settings: Settings,
) -> Any:
    """What TFX's own Trainer would pass, and in `custom_config` what it does not know of."""
    from noria.components.keras3 import ensure_keras3

    ensure_keras3()
    from tfx.components.trainer import fn_args_utils
    from tfx.utils import path_utils

    raw = input_dict["raw_examples"][0]
    champion, mode = present(input_dict.get("champion")), raw.get_string_custom_property("mode")
    serves = champion
    if mode in ("cold", "twin"):
        champion = None
    config = {
        "settings": settings.model_dump(mode="json"),
        "project": exec_properties.get("project") or None,
        "raw_examples": [os.path.join(raw.uri, "Split-train", "*")],
        "span": raw.span,
        "since": json.loads(raw.get_string_custom_property("since") or "null"),
    }
    if champion is not None:
        config |= {"champion": champion.uri, "version": champion.get_int_custom_property("version")}
        twin = twin_of(champion)
        if twin is not None and twin.leads:
            config["twin"] = {"folder": str(twin.folder), "version": twin.version}
    if mode == "twin" and serves is not None:
        config["graph_of"] = serves.uri
    common = {"train_args": "{}", "eval_args": "{}", "custom_config": "null"}
    inputs = {name: artifacts for name, artifacts in input_dict.items() if name != "champion"}
    fn_args: Any = fn_args_utils.get_common_fn_args(inputs, common)
    fn_args.custom_config = config
    fn_args.transform_output = fn_args.transform_graph_path
    fn_args.schema_file = fn_args.schema_path
    fn_args.train_steps = _train_steps(raw, settings, champion is not None)
    fn_args.base_model = path_utils.serving_model_path(champion.uri) if champion is not None else None
    fn_args.serving_model_dir = path_utils.serving_model_dir(output_dict["model"][0].uri)
    fn_args.eval_model_dir = path_utils.eval_model_dir(output_dict["model"][0].uri)
    fn_args.model_run_dir = output_dict["model_run"][0].uri
    return fn_args


def _train_steps(raw: types.Artifact, settings: Settings, warm: bool) -> int | None:
    """For a run_fn that asks TFX for its steps; Noria's own reads its settings."""
    if settings.steps:
        return settings.steps
    rows = json.loads(raw.get_string_custom_property("rows") or "{}").get("train")
    epochs = settings.warm_epochs if warm else settings.epochs
    return steps_of(epochs, rows, settings.batch_size) if rows else None
