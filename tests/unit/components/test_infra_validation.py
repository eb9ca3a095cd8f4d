"""Infra validation and the warm-up file, on real SavedModels in real processes."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import tensorflow as tf

from noria.components import warmup_requests
from noria.components.infra_validation import validator
from noria.components.infra_validation.predictions import fault
from noria.core.errors import GateError


def example(distance: float) -> bytes:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[distance]))
    return tf.train.Example(features=tf.train.Features(feature={"distance": feature})).SerializeToString()


EXAMPLES = [example(100.0 * row) for row in range(20)]
ENDLESS = "tf.while_loop(lambda i: tf.reduce_all(i > -1.0), lambda i: [i * 1.0], [x])[0]"


@pytest.fixture(autouse=True, scope="module")
def shared():
    """The process that `validator.validate` uses has imported TensorFlow once for all tests."""
    validator.start()
    yield
    validator.stop()


@pytest.fixture(scope="module")
def mine():
    """A validator that tests may kill the process of: the next model gets a new one."""
    mine = validator.InfraValidator().start()
    yield mine
    mine.close()


def save(
    folder: Path,
    score: str = "tf.sigmoid(x / 1000 - 1)",
    output: str = "score",
    name: str = "serving_default",
):
    """Saves a model whose score is an expression over x, the distance `[batch, 1]`."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples):
            x = tf.io.parse_example(examples, {"distance": tf.io.FixedLenFeature([1], tf.float32)})[
                "distance"
            ]
            return {output: eval(score, {"tf": tf, "x": x})}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures={name: model.serve})
    return folder


def test_a_good_model_answers_with_one_probability_a_row(tmp_path):
    """The fresh process loads the model and returns [rows, 1] probabilities, with its own seconds."""
    result = validator.validate(save(tmp_path / "m"), EXAMPLES)
    assert (20, 1) == result.shape
    assert 20 == result.rows
    assert tf.sigmoid(-1.0).numpy() == pytest.approx(min(result.values))
    assert tf.sigmoid(0.9).numpy() == pytest.approx(max(result.values))
    assert {"import", "load", "predict", "wait"} == set(result.seconds)


def test_a_process_started_ahead_answers_for_one_model_after_the_other(tmp_path):
    """`start` saves the import, once for all models; each model gets its own fork, and none is left."""
    folder, other = save(tmp_path / "m"), save(tmp_path / "n", score="tf.sigmoid(x / 500 - 1)")
    validator.start()
    waiting = validator._shared._process
    assert tf.sigmoid(0.9).numpy() == pytest.approx(max(validator.validate(folder, EXAMPLES).values))
    assert tf.sigmoid(2.8).numpy() == pytest.approx(max(validator.validate(other, EXAMPLES).values))
    assert waiting is validator._shared._process
    assert waiting.poll() is None
    deadline = time.monotonic() + 60
    while _children(waiting.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "" == _children(waiting.pid)
    assert "1" == re.search(r"Threads:\s+(\d+)", Path(f"/proc/{waiting.pid}/status").read_text())[1]


def test_a_process_ends_with_its_validator():
    """Closing kills the process, also one that still imports TensorFlow."""
    mine = validator.InfraValidator().start()
    process = mine._process
    mine.close()
    assert -signal.SIGKILL == process.returncode


def test_an_answer_asked_ahead_is_taken_only_for_the_same_model_and_rows(mine, tmp_path):
    """A copy of the model counts as the same; other weights, or other rows, are asked again."""
    folder, other = save(tmp_path / "m"), save(tmp_path / "n", score="tf.sigmoid(x / 500 - 1)")
    before = mine._submitted
    mine.submit(folder, EXAMPLES)
    shutil.copytree(folder, tmp_path / "copy")
    warmup_requests.write(tmp_path / "copy", EXAMPLES)
    assert tf.sigmoid(0.9).numpy() == pytest.approx(max(mine.validate(tmp_path / "copy", EXAMPLES).values))
    assert 1 == mine._submitted - before
    mine.submit(folder, EXAMPLES)
    assert tf.sigmoid(2.8).numpy() == pytest.approx(max(mine.validate(other, EXAMPLES).values))
    mine.submit(folder, EXAMPLES)
    assert tf.sigmoid(0.0).numpy() == pytest.approx(max(mine.validate(folder, EXAMPLES[:11]).values))
    assert 5 == mine._submitted - before


def test_a_model_that_kills_its_process_is_reported_and_the_next_one_is_answered(mine, tmp_path):
    """A crash while the model is loaded or asked (a kernel's fault, out of memory) ends the fork alone."""
    mine.submit(save(tmp_path / "m", score=ENDLESS), EXAMPLES)
    deadline = time.monotonic() + 60
    while not (fork := _children(mine._process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(int(fork), signal.SIGKILL)
    with pytest.raises(GateError, match="was killed by SIGKILL"):
        mine.validate(tmp_path / "m", EXAMPLES)
    assert (20, 1) == mine.validate(save(tmp_path / "n"), EXAMPLES).shape


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"score": "x * float('nan')"}, "20 of 20 predictions are not finite"),
        ({"output": "logits"}, r"must give `score`; it gives \['logits'\]"),
        ({"name": "other"}, "must have the signature serving_default; its signatures: other"),
        (
            {"score": "tf.debugging.check_numerics(x / 0.0, 'broken')"},
            "does not predict: InvalidArgumentError",
        ),
    ],
)
def test_a_model_that_answers_nonsense_is_refused(tmp_path, faults, said):
    """Not finite, under another name, or an error while predicting: a GateError says which."""
    with pytest.raises(GateError, match=said):
        validator.validate(save(tmp_path / "m", **faults), EXAMPLES)


@pytest.mark.parametrize(
    ("values", "shape", "task", "said"),
    [
        ([0.1] * 19 + [1.2], [20, 1], "binary", "probabilities must be in [0, 1], got 0.1 to 1.2"),
        ([0.5] * 20, [20, 1], "binary", "20 different rows all get the same prediction, 0.5"),
        ([0.5] * 40, [20, 2], "binary", "predictions must have the shape [20, 1], got [20, 2]"),
        ([0.1, 0.7] * 20, [20, 2], "multiclass", "each row's probabilities must add up to 1, got 0.8"),
        ([0.1] * 20, [20, 1], "multiclass", "predictions must have the shape [20, classes], got [20, 1]"),
        ([0.1] * 19 + [float("inf")], [20, 1], "regression", "1 of 20 predictions are not finite numbers"),
        ([0.1] * 19 + [0.2], [20, 1], "binary", None),
        ([-3.0] * 19 + [7.0], [20], "regression", None),
        ([0.4, 0.6, 0.5, 0.5] * 10, [20, 2], "multiclass", None),
    ],
)
def test_predictions_are_judged_by_task(values, shape, task, said):
    """Shape, finiteness, range and variety: what is wrong, with the numbers, or None."""
    assert said == fault(values, shape, 20, 20, task)


def test_few_or_equal_rows_may_share_a_prediction():
    """A constant answer is only suspicious over enough different rows."""
    assert fault([0.5] * 20, [20, 1], 20, different=3, task="binary") is None


def test_a_model_that_hangs_is_killed(mine, tmp_path):
    """After the timeout the process is gone and the error names the seconds."""
    mine.validate(save(tmp_path / "n"), EXAMPLES)  # TensorFlow has been imported
    process = mine._process
    with pytest.raises(GateError, match="no predictions within 2 s"):
        mine.validate(save(tmp_path / "m", score=ENDLESS), EXAMPLES, timeout=2)
    assert -signal.SIGKILL == process.returncode


def test_a_model_that_nobody_fetched_the_answer_for_does_not_hold_up_the_next_one(
    mine, tmp_path, monkeypatch
):
    """Asked ahead, refused by the gate, and hanging: the process is ended, and a new one answers for the next."""
    monkeypatch.setattr(validator, "_ABANDONED", 1.0)
    mine.submit(save(tmp_path / "m", score=ENDLESS), EXAMPLES)
    first = mine._process
    assert (20, 1) == mine.validate(save(tmp_path / "n"), EXAMPLES).shape
    assert -signal.SIGKILL == first.returncode


def test_a_process_that_is_killed_is_reported(mine, tmp_path):
    """A crash of the process (out of memory, a bad kernel) becomes a GateError, not a hang."""
    mine.submit(save(tmp_path / "m", score=ENDLESS), EXAMPLES)
    os.kill(mine._process.pid, signal.SIGSEGV)
    with pytest.raises(GateError, match="was killed by SIGSEGV"):
        mine.validate(tmp_path / "m", EXAMPLES)


def test_what_is_not_a_model_is_refused_before_any_process_starts(tmp_path):
    """An empty folder, no rows, an unknown task."""
    with pytest.raises(GateError, match="no saved_model.pb"):
        validator.validate(tmp_path, EXAMPLES)
    with pytest.raises(GateError, match="at least one real row"):
        validator.validate(tmp_path, [])
    with pytest.raises(GateError, match="'binray'"):
        validator.validate(tmp_path, EXAMPLES, task="binray")


def test_a_damaged_model_is_refused(tmp_path):
    """A saved_model.pb that is not a proto gives the loader's reason."""
    (tmp_path / "saved_model.pb").write_bytes(b"no proto")
    with pytest.raises(GateError, match="the model does not load"):
        validator.validate(tmp_path, EXAMPLES)


def test_the_warm_up_file_holds_real_requests_that_the_signature_answers(tmp_path):
    """Every record is a Predict request of TF Serving whose input the model accepts."""
    from tensorflow_serving.apis import prediction_log_pb2

    folder = save(tmp_path / "m")
    path = warmup_requests.write(folder, EXAMPLES)
    assert folder / "assets.extra" / "tf_serving_warmup_requests" == path
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    sizes = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert "serving_default" == request.model_spec.signature_name
        rows = tf.make_ndarray(request.inputs["examples"])
        sizes.append(len(serve(examples=tf.constant(rows))["score"]))
    assert [1, 8, 32] == sizes


def test_the_warm_up_file_holds_what_the_model_answered(tmp_path):
    """The answer of each record has the scores of its rows; a batch larger than the examples repeats both."""
    from tensorflow_serving.apis import prediction_log_pb2

    scores = [[place / 10] for place in range(3)]
    path = warmup_requests.write(save(tmp_path / "m"), EXAMPLES[:3], scores=scores, batch_sizes=(2, 4))
    found = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        response = prediction_log_pb2.PredictionLog.FromString(record).predict_log.response
        found.append(tf.make_ndarray(response.outputs["score"]).tolist())
    assert [pytest.approx([0.0, 0.1]), pytest.approx([0.0, 0.1, 0.2, 0.0])] == [
        sum(each, []) for each in found
    ]


def test_a_parent_without_tensorflow_gets_an_eager_child(tmp_path, monkeypatch):
    """TensorFlow sets TF2_BEHAVIOR when it is imported; the child must not rely on its parent having done so."""
    monkeypatch.delenv("TF2_BEHAVIOR", raising=False)
    fresh = validator.InfraValidator()
    try:
        assert (20, 1) == fresh.validate(save(tmp_path / "m"), EXAMPLES).shape
    finally:
        fresh.close()
