"""The pipeline's component graph. It reads like the picture in the README; nothing is computed here."""

import json

from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.experimental.conditionals import conditional

from noria.components.champion.component import ChampionResolver
from noria.components.data_gate.component import DataGate
from noria.components.evaluator.component import Evaluator
from noria.components.example_gen.component import SpanExampleGen
from noria.components.pusher.component import Pusher
from noria.components.statistics_gen.component import StatisticsGen
from noria.components.trainer.component import Trainer
from noria.components.transform.component import Transform
from noria.pipeline.config import Config


def components(config: Config, *, span: str, mode: str, run_id: str, code_digest: str) -> list[BaseNode]:
    """The nodes of one run, in the order of the pipeline; the same for Beam and for Kubeflow.

    Args:
      config: the project's settings.
      span: id of the span to run on, or `newest`, or `next`: the oldest that waits for a run.
      mode: `auto`, `cold` to train from nothing although there is a champion, or `twin`: the same for the fallback.
      run_id: names the run; the same run never makes two versions.
      code_digest: digest of the code that makes the model.
    """
    home, model_root = str(config.home_path), str(config.model_root)
    project = str(config.folder)
    label, task = config.label.column, config.task

    signing_key = str(config.signing.key or "")
    champion = ChampionResolver(home=home, model_root=model_root, signing_key=signing_key)
    spans = SpanExampleGen(
        champion=champion.outputs["champion"],
        home=home,
        run_id=run_id,
        span=span,
        mode=mode,
        label=label,
        window=json.dumps(config.window_settings()),
        execution=config.execution,
    )
    schema = ImportSchemaGen(schema_file=str(config.schema_path)).with_id("SchemaGen")
    statistics = StatisticsGen(
        examples=spans.outputs["examples"],
        schema=schema.outputs["schema"],
        home=home,
        label=label,
        task=task,
        time=config.time.column or "",
        execution=config.execution,
    )
    gate = DataGate(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        champion=champion.outputs["champion"],
        home=home,
        label=label,
        task=task,
        time=config.time.column or "",
        every=config.span.every,
        gate=json.dumps(config.data_gate_settings()),
        project=project,
        run_id=run_id,
    )
    verdict = gate.outputs["verdict"]

    with conditional.Cond(verdict.future()[0].custom_property("verdict") != "broken"):
        transform = Transform(
            examples=spans.outputs["examples"],
            schema=schema.outputs["schema"],
            champion=champion.outputs["champion"],
            verdict=verdict,
            preprocessing=config.preprocessing,
            project=project,
            home=home,
            label=label,
            execution=config.execution,
        )
        trainer = Trainer(
            examples=transform.outputs["transformed_examples"],
            raw_examples=spans.outputs["examples"],
            transform_graph=transform.outputs["transform_graph"],
            schema=schema.outputs["schema"],
            champion=champion.outputs["champion"],
            settings=json.dumps(config.trainer_settings()),
            project=project,
        )
        evaluator = Evaluator(
            examples=spans.outputs["examples"],
            model=trainer.outputs["model"],
            champion=champion.outputs["champion"],
            schema=schema.outputs["schema"],
            gate=json.dumps(config.model_gate_settings()),
            label=label,
            task=task,
            project=project,
            execution=config.execution,
        )
        pusher = Pusher(
            model=trainer.outputs["model"],
            model_blessing=evaluator.outputs["blessing"],
            evaluation=evaluator.outputs["evaluation"],
            transform_graph=transform.outputs["transform_graph"],
            statistics=statistics.outputs["statistics"],
            schema=schema.outputs["schema"],
            examples=spans.outputs["examples"],
            champion=champion.outputs["champion"],
            verdict=verdict,
            home=home,
            model_root=model_root,
            run_id=run_id,
            code_digest=code_digest,
            task=task,
            keep=config.retention,
            signing_key=signing_key,
            rollout=int(config.serving.rollout.mode is not None),
        )
    return [champion, spans, schema, statistics, gate, transform, trainer, evaluator, pusher]
