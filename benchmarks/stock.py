"""The pipeline's work, done by the stock TFX components: what a warm run is measured against.

    python -m benchmarks.stock CSV_FOLDER BASELINE_MODEL SCHEMA.pbtxt OUT.json [--steps 300]

CsvExampleGen (four rows to train on for one to judge by, as Noria and the script have it), StatisticsGen,
ImportSchemaGen, ExampleValidator, Transform, Trainer, Evaluator (two models, the same four metrics and slices) and
Pusher, as TFX's own taxi template wires them, on TFX's LocalDagRunner with Beam in memory. Imports are paid before the
clock starts.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

import tensorflow_model_analysis as tfma  # noqa: E402
import tensorflow_transform as tft  # noqa: E402
from tfx.components import (  # noqa: E402
    CsvExampleGen,
    Evaluator,
    ExampleValidator,
    Pusher,
    StatisticsGen,
    Trainer,
    Transform,
)
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen  # noqa: E402
from tfx.dsl.components.common.importer import Importer  # noqa: E402
from tfx.orchestration import metadata, pipeline  # noqa: E402
from tfx.orchestration.local.local_dag_runner import LocalDagRunner  # noqa: E402
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2  # noqa: E402
from tfx.types import standard_artifacts  # noqa: E402

LABEL = "late"
SLICES = ("origin", "carrier")


def eval_config() -> tfma.EvalConfig:
    """AUC, log loss, calibration and count, overall and by slice, against a baseline."""
    change = tfma.MetricThreshold(
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={"value": -0.01}
        )
    )
    metrics = [
        tfma.MetricConfig(class_name="AUC", threshold=change),
        tfma.MetricConfig(class_name="BinaryCrossentropy"),
        tfma.MetricConfig(class_name="Calibration"),
        tfma.MetricConfig(class_name="ExampleCount"),
    ]
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(name="candidate", label_key=LABEL, signature_name="serving_default"),
            tfma.ModelSpec(
                name="baseline",
                label_key=LABEL,
                signature_name="serving_default",
                prediction_key="score",  # Noria's version gives its logit, too
                is_baseline=True,
            ),
        ],
        slicing_specs=[tfma.SlicingSpec()] + [tfma.SlicingSpec(feature_keys=[key]) for key in SLICES],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
    )


def run_fn(fn_args) -> None:
    """Keras's own `fit` on transformed examples, as TFX's templates do it; the wide and deep model's inputs."""
    transform = tft.TFTransformOutput(fn_args.transform_output)
    spec = transform.transformed_feature_spec()

    def batches(files: list[str]):
        def parse(serialized):
            features = tf.io.parse_example(serialized, spec)
            return features, features.pop(LABEL)

        paths = [path for pattern in files for path in sorted(tf.io.gfile.glob(pattern))]
        dataset = tf.data.TFRecordDataset(paths, compression_type="GZIP").shuffle(10_000).repeat()
        return dataset.batch(fn_args.custom_config["batch_size"]).map(parse).prefetch(tf.data.AUTOTUNE)

    keras = tf.keras
    inputs, numeric, embedded, wide = {}, [], [], []
    domains = {feature.name: feature for feature in transform.transformed_metadata.schema.feature}
    for name, feature in spec.items():
        if name == LABEL:
            continue
        inputs[name] = keras.Input((1,) if feature.shape == [1] else (), name=name, dtype=feature.dtype)
        value = keras.layers.Reshape((1,))(inputs[name])
        if feature.dtype == tf.int64:
            size = int(domains[name].int_domain.max) + 2
            width = min(50, round(1.6 * size**0.56))  # as Noria's
            embedded.append(keras.layers.Flatten()(keras.layers.Embedding(size, width)(value)))
            wide.append(keras.layers.Flatten()(keras.layers.Embedding(size, 1)(value)))
        else:
            numeric.append(value)
    wide.append(keras.layers.Dense(1, use_bias=False)(keras.layers.Concatenate()(numeric)))
    deep = keras.layers.Concatenate()([*numeric, *embedded])
    for units in (128, 64):
        deep = keras.layers.Dense(units, activation="relu")(deep)
    logit = keras.layers.Add()([keras.layers.Dense(1)(deep), *wide])
    model = keras.Model(inputs, keras.layers.Activation("sigmoid")(logit))
    model.compile(keras.optimizers.Adam(1e-3, clipnorm=1.0), "binary_crossentropy")
    # Neither Noria nor the script validates while it trains: the Evaluator judges.
    model.fit(batches(fn_args.train_files), steps_per_epoch=fn_args.train_steps, verbose=0)

    layer = transform.transform_features_layer()
    raw_spec = transform.raw_feature_spec()
    raw_spec.pop(LABEL)

    class Serving(tf.Module):
        def __init__(self):
            self.model, self.layer = model, layer

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples):
            return {"score": self.model(self.layer(tf.io.parse_example(examples, raw_spec)))}

    serving = Serving()
    tf.saved_model.save(serving, fn_args.serving_model_dir, {"serving_default": serving.serve})


def wire(arguments: argparse.Namespace, root: Path) -> pipeline.Pipeline:
    """The components, each as it comes."""
    Split = example_gen_pb2.SplitConfig.Split
    splits = [Split(name="train", hash_buckets=4), Split(name="eval", hash_buckets=1)]
    examples = CsvExampleGen(
        input_base=arguments.csv,
        output_config=example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits)),
    )
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    schema = ImportSchemaGen(schema_file=arguments.schema)
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    transform = Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="flight_features.preprocessing_fn",
    )
    trainer = Trainer(
        run_fn="benchmarks.stock.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(num_steps=arguments.steps),
        custom_config={"batch_size": arguments.batch_size},
    )
    baseline = Importer(source_uri=arguments.baseline, artifact_type=standard_artifacts.Model)
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.with_id("Baseline").outputs["result"],
        eval_config=eval_config(),
        schema=schema.outputs["schema"],
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(root / "serving"))
        ),
    )
    nodes = [examples, statistics, schema, validator, transform, trainer, baseline, evaluator, pusher]
    return pipeline.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(root / "root"),
        components=nodes,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
    )


def seconds_of(root: Path) -> dict[str, float]:
    """Seconds of each component, from the metadata store."""
    from ml_metadata.metadata_store import metadata_store

    store = metadata_store.MetadataStore(
        metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    )
    return {
        execution.type.rsplit(".", 1)[-1]: (
            execution.last_update_time_since_epoch - execution.create_time_since_epoch
        )
        / 1000
        for execution in store.get_executions()
    }


def main() -> None:
    """Runs the pipeline once and writes the seconds of each component."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", help="folder")
    parser.add_argument("baseline", help="folder of the champion's SavedModel")
    parser.add_argument("schema")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stock = wire(arguments, Path(folder))
        started = time.perf_counter()
        LocalDagRunner().run(stock)
        seconds = time.perf_counter() - started
        stages = seconds_of(Path(folder))
    result = {"seconds": seconds, "stages": stages, "steps": arguments.steps}
    arguments.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
