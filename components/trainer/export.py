"""Writes the SavedModel: serialized raw tf.Examples in, scores out, with the transform graph inside.

The module holds bare variables, the transform graph's tables and one function. A Keras model as an attribute
would make TensorFlow trace every layer again to save functions that nobody calls.

Tracing is most of an export, and two models of the same recipe differ in nothing but their weights. So where the
champion's SavedModel was made from the same recipe, its graph is taken and the weights are written beside it; a test
compares both ways. `assets.extra/noria.json` holds the recipe, and the digest of the files that it describes.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noria.components import saved_model
from noria.components.internals import tft_graphs
from noria.components.internals.tensorflow import edit_signatures, write_fingerprint
from noria.components.libraries import tf
from noria.components.trainer.network import Network
from noria.components.trainer.raw_columns import RawColumns
from noria.components.trainer.transform_layer import TransformLayer
from noria.core import files

RECIPE = Path("assets.extra") / "noria.json"
VARIABLES = Path("variables") / "variables"


class Serving(tf.Module):
    """What is saved: everything that the signature uses and that has a state."""

    def __init__(self, network: Network, transform: TransformLayer):
        super().__init__(name="noria")
        self.weights = list(network.state().values())
        self.transform = transform.trackables


def export(
    network: Network, transform: TransformLayer, folder: Path, recipe: str, champion: Path | None = None
) -> str:
    """Writes the SavedModel.

    Its `serving_default` takes `examples` string `[batch]` and gives, each float32 `[batch, outputs]`, the `score`
    and the `logit`: the model alone, without the part of the base rate. `predict` takes one tensor for each raw column
    and gives the same (see raw_columns.py; `trainer.predict_columns` bounds their number). TF Serving's Classify or
    Regress has `classify` or `regress`, on the tensors of `serving_default`: it takes `inputs` and gives the score as
    `scores` or `outputs`.

    Args:
      network: the trained network, built outside any strategy's scope.
      transform: the run's transform graph.
      folder: the target folder.
      recipe: digest of all that the graph is made from: code, settings, features, transform graph, libraries.
      champion: the champion's SavedModel, if there is one.

    Returns:
      How: `champion's graph` or `traced`.
    """
    same = champion is not None and _made_from(champion, recipe) and _rewrite(champion, network, folder)
    if not same:
        _trace(network, transform, folder)
    note = {"recipe": recipe, "graph": saved_model.digest(folder, variables=False)}
    (folder / RECIPE).parent.mkdir(exist_ok=True)
    (folder / RECIPE).write_text(json.dumps(note), encoding="utf-8")
    return "champion's graph" if same else "traced"


def _trace(network: Network, transform: TransformLayer, folder: Path) -> None:
    columns = RawColumns(transform.raw_spec)

    def score(parsed: dict[str, Any]) -> dict[str, tf.Tensor]:
        logits = network.logits(*network.features.pack(transform.transform(parsed)))
        return {"score": network.score_of(logits), "logit": network.logit_of(logits)}

    # No attribute of the module: TensorFlow would trace it once more.
    scored: Callable[..., dict[str, tf.Tensor]] = score
    by_column = columns.supported and len(columns.spec) <= network.settings.predict_columns
    if by_column:  # traced once, for both signatures
        scored = tf.function(score, autograph=False).get_concrete_function(columns.parsed_specs())

    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return scored(tf.io.parse_example(examples, columns.spec))

    def predict(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return scored(columns.parse(inputs))

    examples = tf.TensorSpec([None], tf.string, name="examples")
    with tft_graphs.fast():
        signatures = {"serving_default": tf.function(serve, autograph=False).get_concrete_function(examples)}
        if by_column:
            function = tf.function(predict, autograph=False)
            signatures["predict"] = function.get_concrete_function(**columns.input_specs())
        module = Serving(network, transform)
        tf.saved_model.save(module, str(folder), signatures=signatures)
    verb, output = ("regress", "outputs") if network.settings.task == "regression" else ("classify", "scores")
    with edit_signatures(folder) as definitions:
        default, added = definitions["serving_default"], definitions[verb]
        added.method_name = f"tensorflow/serving/{verb}"
        added.inputs["inputs"].CopyFrom(default.inputs["examples"])
        added.outputs[output].CopyFrom(default.outputs["score"])
        if by_column:
            _rename(definitions["predict"].inputs, columns.arguments)


def _rename(inputs: Any, arguments: Mapping[str, str]) -> None:
    """Gives the inputs of a signature the names of their columns."""
    for name, alias in arguments.items():
        if name != alias:
            inputs[name].CopyFrom(inputs[alias])
            del inputs[alias]


def _made_from(model: Path, recipe: str) -> bool:
    """Whether a SavedModel's graph is the one that was written for the recipe."""
    try:
        note = json.loads((model / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return note == {"recipe": recipe, "graph": saved_model.digest(model, variables=False)}


def _rewrite(champion: Path, network: Network, folder: Path) -> bool:
    """Writes the champion's graph with the network's weights; False, and nothing, where they don't fit."""
    reader = tf.train.load_checkpoint(str(champion / VARIABLES))
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    for place, variable in enumerate(network.state().values()):
        name, value = f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE", variable.numpy()
        if name not in tensors or (tensors[name].shape, tensors[name].dtype) != (value.shape, value.dtype):
            return False
        tensors[name] = value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VARIABLES).parent.mkdir()
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(folder / VARIABLES),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    if (champion / "assets").is_dir():
        files.copy_tree(champion / "assets", folder / "assets", link=False)
    # Last, as TF Serving takes it as the sign that the model is available.
    files.copy_tree(champion / "saved_model.pb", folder / "saved_model.pb", link=False)
    write_fingerprint(folder)
    return True
