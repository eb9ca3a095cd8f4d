"""The Trainer's parts that need no TensorFlow graph: batches, remapping, checkpoints, settings, AUC."""

import json

import numpy as np
import pytest

from noria.components.trainer import batches, checkpoint, remap
from noria.components.trainer.settings import EarlyStop, read
from noria.core.errors import ConfigError, WarmStartError


def test_a_run_in_two_halves_gets_the_same_rows():
    """Steps 0-9 in one go are steps 0-4 and then 5-9."""
    whole = batches.rows_of(seed=3, origin=0, rows=37, first=0, count=10 * 8)
    halves = [batches.rows_of(seed=3, origin=0, rows=37, first=at, count=5 * 8) for at in (0, 40)]
    assert whole.tolist() == np.concatenate(halves).tolist()


def test_every_pass_has_every_row_once_in_another_order():
    """Two passes: each is a permutation, and they differ."""
    rows = batches.rows_of(seed=3, origin=7, rows=100, first=0, count=200)
    assert list(range(100)) == sorted(rows[:100].tolist()) == sorted(rows[100:].tolist())
    assert rows[:100].tolist() != rows[100:].tolist()


def test_calls_meet_every_check():
    """Calls never run past a check, and add up to the steps."""
    sizes = list(batches.calls(steps=103, per_call=100, check_every=45))
    assert [45, 45, 13] == sizes


def test_vocabulary_rows_follow_their_entries():
    """A reordered and grown vocabulary: known entries keep their row, new ones start from the unknown row."""
    rows = remap.map_vocabulary([b"a", b"b", b"c"], [b"c", b"new", b"a", b"b"], old_rows=4, new_rows=5)
    table = np.array([[1.0], [2.0], [3.0], [9.0]], np.float32)
    assert [[3.0], [9.0], [1.0], [2.0], [9.0]] == rows.apply(table).tolist()
    assert [[3.0], [0.0], [1.0], [2.0], [9.0]] == rows.apply(table, "zero").tolist()
    assert "3 entries -> 4: 1 new, 0 gone, 3 moved" == rows.detail


def test_vocabulary_without_buckets_starts_new_entries_from_the_mean():
    """With no row for unknown values a new entry starts from the mean of the old rows."""
    rows = remap.map_vocabulary([b"a", b"b"], [b"b", b"a", b"c"], old_rows=2, new_rows=3)
    assert [2.0, 1.0, 1.5] == rows.apply(np.array([1.0, 2.0], np.float32)).tolist()


def test_ids_from_minus_one_keep_the_unknown_row_first():
    """default_value=-1: row 0 is the unknown one on both sides."""
    rows = remap.map_vocabulary([b"a", b"b"], [b"b", b"c", b"a"], 3, 4, old_lowest=-1, new_lowest=-1)
    assert [0, 2, -1, 1] == rows.source.tolist()


def test_line_leaves_out_rows_filled_with_the_mean():
    """A missing number is 0 by both graphs, off the line; the line is still exact."""
    raw = np.linspace(-3, 8, 50)
    old, new = (raw - 1) / 2, (raw - 2) / 5
    old, new = np.append(old, [0.0, 0.0]), np.append(new, [0.0, 0.0])
    line = remap.fit_line(old, new, missing=(0.0, 0.0))
    assert pytest.approx((2.5, 0.5)) == (line.scale, line.shift)
    assert line.exact
    assert not remap.fit_line(old, new).exact


def test_no_line_through_a_curve():
    """A logarithm is no straight line of what it was taken of."""
    raw = np.linspace(1, 8, 50)
    assert not remap.fit_line(raw, np.log(raw)).exact


def test_buckets_follow_the_rows():
    """A new bucket gets the weights of the old bucket that most of its rows came from."""
    rows = remap.map_ids(np.array([0, 0, 1, 1, 2]), np.array([1, 1, 1, 2, 0]), old_rows=3, new_rows=3)
    assert [2, 0, 1] == rows.source.tolist()


def a_checkpoint() -> checkpoint.Checkpoint:
    one = {"deep/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "seed#2": np.array([7, 1], np.uint32)}
    return checkpoint.Checkpoint(
        one, {"deep/kernel": one["deep/kernel"]}, {}, 3, 768, 0, 1e-3, "w", {}, {}, {}
    )


def test_checkpoint_comes_back_as_it_was(tmp_path):
    """Arrays, dtypes, counters: equal after save and load, also over an older one."""
    for _ in range(2):
        checkpoint.save(tmp_path / "checkpoint", a_checkpoint())
    loaded = checkpoint.load(tmp_path / "checkpoint")
    assert ["checkpoint"] == [path.name for path in tmp_path.iterdir()]
    assert (3, 768, "w") == (loaded.step, loaded.examples_seen, loaded.window)
    for name, array in a_checkpoint().variables.items():
        assert array.dtype == loaded.variables[name].dtype
        assert array.tolist() == loaded.variables[name].tolist()
    assert ["deep/kernel"] == list(loaded.first)


def test_a_champion_without_a_checkpoint_is_refused(tmp_path):
    """What a run_fn of the user's own made cannot be gone on from by Noria's; the message says what can be done."""
    with pytest.raises(WarmStartError, match="another run_fn made it") as error:
        checkpoint.load(tmp_path / "checkpoint")
    assert "--cold" in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "gone", "format"])
def test_damaged_checkpoint_is_refused(tmp_path, damage):
    """A cut or missing array file and an unknown format are errors that name the cold run."""
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, a_checkpoint())
    if damage == "cut":
        whole = (folder / "arrays.npz").read_bytes()
        (folder / "arrays.npz").write_bytes(whole[:-20])
    elif damage == "gone":
        (folder / "arrays.npz").unlink()
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(WarmStartError, match="cold run"):
        checkpoint.load(folder)


def test_settings_from_json():
    """JSON lists, and early_stop as an object, null or absent, are read."""
    settings = read({"hidden_units": [8], "early_stop": {"metric": "auc"}, "task": "binary"})
    assert (8,) == settings.hidden_units
    assert EarlyStop(metric="auc") == settings.early_stop
    assert read({"early_stop": None}).early_stop is None
    assert EarlyStop() == read({}).early_stop


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"famly": "dcn"}, "did you mean 'family'"),
        ({"family": "dcm"}, "did you mean 'dcn'"),
        ({"early_stop": {"patiense": 3}}, "did you mean 'patience'"),
        ({"batch_size": 0}, "greater than or equal to 1, got 0"),
        ({"batch_size": "many"}, "valid integer, .*got 'many'"),
        ({"learning_rate_floor": 0}, "greater than 0, got 0"),
        ({"strategy": "tpu"}, "'none', 'mirrored' or 'multi_worker'"),
        ({"early_stop": {"metric": "auc"}, "task": "regression"}, "loss where task is regression"),
    ],
)
def test_wrong_settings_are_refused(values, says):
    """A wrong key or value is refused with what was expected."""
    with pytest.raises(ConfigError, match=says):
        read(values)
