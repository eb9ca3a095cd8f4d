"""Writes SavedModels as TF Serving's tests use them. A program, so that a test does not import TensorFlow.

`half_plus_two` gives x / 2 + 2, with a predict, two classify and two regress signatures on one graph, whose tensors are
those of TF Serving's saved_model_half_plus_two.py. `half_plus_three` is the same graph with other weights,
`half_plus_four` another graph. `failing` fails in each request. `pair` has two inputs and four outputs of several
types. `rare` has an input with a default, and types that are rare. `lite` is half_plus_two as a TF Lite model.
"""

import shutil
import sys
from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1
utils = v1.saved_model.signature_def_utils


def half_plus(number: float, folder: Path, another_graph: bool = False) -> None:
    with v1.Graph().as_default(), v1.Session() as session:
        a, b, c = (v1.Variable(value, name=name) for value, name in ((0.5, "a"), (0.0, "b"), (3.0, "c")))
        serialized = v1.placeholder(tf.string, [None], "tf_example")
        features = {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "x2": tf.io.FixedLenFeature([1], tf.float32, [0.0]),
        }
        parsed = tf.io.parse_example(serialized, features)
        x = tf.identity(parsed["x"], "x")
        y = tf.identity(b + a * x if another_graph else a * x + b, "y")
        y2 = tf.identity(a * x + c, "y2")
        classes = tf.fill(tf.shape(y), "positive")

        def signature(method, inputs, outputs):
            infos = [
                {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in each.items()}
                for each in (inputs, outputs)
            ]
            return utils.build_signature_def(*infos, f"tensorflow/serving/{method}")

        signatures = {
            "serving_default": signature("predict", {"x": x}, {"y": y}),
            "classify_x_to_y": signature("classify", {"inputs": serialized}, {"scores": y}),
            "classify_labels": signature(
                "classify", {"inputs": serialized}, {"classes": classes, "scores": y}
            ),
            "regress_x_to_y": signature("regress", {"inputs": serialized}, {"outputs": y}),
            "regress_x_to_y2": signature("regress", {"inputs": serialized}, {"outputs": y2}),
        }
        session.run(v1.global_variables_initializer())
        b.load(number, session)
        builder = v1.saved_model.builder.SavedModelBuilder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()


class Pair(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="number"),
            tf.TensorSpec([None], tf.string, name="word"),
        ]
    )
    def serve(self, number, word):
        return {"double": number * 2, "word": word, "raw_bytes": word, "large": number > 10}


class Failing(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x):
        return {"y": tf.debugging.check_numerics(x / 0.0, "this model always fails")}


class Rare(tf.Module):
    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="k")]
    )
    def times(self, x, k=tf.constant(10.0)):  # noqa: B008  # TensorFlow wants a tensor
        return {"y": x * k}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.complex64, name="z"),
            tf.TensorSpec([None], tf.float16, name="h"),
        ]
    )
    def double(self, z, h):
        return {"z": z * 2, "wide": tf.cast(z, tf.complex128), "h": h * 2, "b": tf.cast(h, tf.bfloat16)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def tiny(self, x):
        return {"t": tf.cast(x, tf.dtypes.experimental.float8_e5m2)}


class Half(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1], tf.float32, name="x")])
    def serve(self, x):
        return {"y": x * 0.5 + 2.0}


def lite(folder: Path) -> None:
    half = Half()
    folder.mkdir(parents=True)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([half.serve.get_concrete_function()], half)
    (folder / "model.tflite").write_bytes(converter.convert())


def main(folder: Path) -> None:
    two, three = folder / "half_plus_two" / "00000123", folder / "half_plus_three" / "00000124"
    half_plus(2.0, two)
    half_plus(3.0, three)
    shutil.copy(two / "saved_model.pb", three / "saved_model.pb")  # protobuf may write a map in any order
    half_plus(4.0, folder / "half_plus_four" / "00000125", another_graph=True)
    failing = Failing()
    tf.saved_model.save(failing, str(folder / "failing" / "1"), signatures=failing.serve)
    lite(folder / "lite" / "1")
    rare = Rare()
    signatures = {"serving_default": rare.times, "double": rare.double, "tiny": rare.tiny}
    tf.saved_model.save(rare, str(folder / "rare" / "1"), signatures=signatures)
    pair = Pair()
    tf.saved_model.save(pair, str(folder / "pair" / "1"), signatures=pair.serve)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
