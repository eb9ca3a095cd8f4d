"""The rule, the count behind it, and the digest of the user's code: plain Python, no TensorFlow."""

import pickle
import sys

import pyarrow as pa
import pytest

from noria.components.transform import coverage, reuse
from noria.core import code_digest, user_code
from noria.core.errors import ConfigError

NOW = reuse.Record("features.preprocessing_fn", "c1", "s1", "late", 1000, {"dest": 0.02, "tail": 0.3})


@pytest.mark.parametrize(
    ("champion", "present", "verdict", "reason"),
    [
        (None, False, "ok", "there is no champion"),
        (None, True, "ok", "the champion's transform graph has no noria.json"),
        (NOW, True, "drifted", "the data verdict is drifted"),
        (reuse.Record("features.preprocessing_fn", "c1", "s0", "late"), True, "ok", "the schema has changed"),
        (
            reuse.Record("other.preprocessing_fn", "c1", "s1", "late"),
            True,
            "ok",
            "the preprocessing code has changed",
        ),
        (
            reuse.Record("features.preprocessing_fn", "c0", "s1", "delay"),
            True,
            "drifted",
            "the data verdict is drifted; the label was delay and is late; "
            "the preprocessing code has changed",
        ),
        (
            reuse.Record("features.preprocessing_fn", "c1", "s1", "late", unmeasured=["airport"]),
            True,
            "ok",
            "no output feature has the name of the vocabulary airport, so its coverage is unknown",
        ),
    ],
)
def test_refreshes_without_reading_give_all_their_reasons(champion, present, verdict, reason):
    """A reason that needs no data refreshes at once, and all such reasons are listed."""
    decision = reuse.before_reading(champion, present, verdict, NOW)
    assert (decision.transform, decision.reason) == ("refreshed", reason)
    assert decision.inputs["verdict"] == verdict


def test_the_threshold_is_an_excess_over_the_share_at_analysis():
    """One per cent more than at analysis is reused, clearly more is refreshed; a share may fall freely."""
    assert "reused" == reuse.after_reading(NOW, {"dest": 0.03, "tail": 0.1}, 100_000).transform
    decision = reuse.after_reading(NOW, {"dest": 0.033, "tail": 0.3}, 100_000)
    assert "refreshed" == decision.transform
    assert {
        "outside": {"dest": 0.033, "tail": 0.3},
        "outside_at_analysis": {"dest": 0.02, "tail": 0.3},
        "rows": 100_000,
        "max_excess": 0.01,
    } == decision.inputs


@pytest.mark.parametrize(("rows", "decision"), [(1_000, "reused"), (10_000, "refreshed")])
def test_a_share_above_the_limit_must_be_sure(rows, decision):
    """Four per cent where three are allowed: of 1,000 rows that is chance, of 10,000 it is not."""
    assert decision == reuse.after_reading(NOW, {"dest": 0.04}, rows).transform


def test_a_record_is_read_as_it_was_written(tmp_path):
    """`noria.json` comes back whole."""
    reuse.write_record(tmp_path, NOW)
    assert NOW == reuse.read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unknown": 1}', '{"label": "late"}'])
def test_a_record_that_is_not_understood_counts_as_none(tmp_path, text):
    """A missing, torn or newer record is not a record, so that the graph is refreshed."""
    (tmp_path / reuse.RECORD).write_text(text)
    assert reuse.read_record(tmp_path) is None


def test_rows_are_counted_once_however_many_of_their_values_are_outside():
    """Ids below 0 and from the vocabulary's size up are outside; rows without values are not."""
    ids = pa.array([[0], [3, 4], [-1], [], None, [2], [1, 9]], pa.large_list(pa.int64()))
    batch = pa.RecordBatch.from_arrays([ids, ids], ["a", "b"])
    expected = coverage.Coverage(7, {"a": 3, "b": 1})
    assert coverage.count(batch, {"a": 3, "b": 10}) == expected
    sliced = [coverage.count(batch.slice(i, 1), {"a": 3, "b": 10}) for i in range(7)]
    assert coverage.total(sliced) == expected
    assert {"a": 3 / 7, "b": 1 / 7} == expected.shares()
    assert {"a": 0.0} == coverage.Coverage(0, {"a": 0}).shares()


# ------------------------------------------------------------------------------------------ the user's code


@pytest.fixture
def project(tmp_path):
    """A project with a package, a relative import and a module that nothing imports."""
    (tmp_path / "my_pack").mkdir()
    (tmp_path / "my_pack" / "__init__.py").write_text("")
    (tmp_path / "my_pack" / "features.py").write_text(
        "import json\nfrom . import deep\nimport my_helpers\n\n"
        "def preprocessing_fn(inputs):\n    return inputs\n"
    )
    (tmp_path / "my_pack" / "deep.py").write_text("import pandas\n")
    (tmp_path / "my_helpers.py").write_text("VALUE = 1\n")
    (tmp_path / "my_stray.py").write_text("VALUE = 1\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def test_the_digest_sees_what_the_module_imports_of_its_own_project(project):
    """A change in an imported helper changes the digest, one in a stray file does not."""
    path = "my_pack.features.preprocessing_fn"
    assert [
        "my_helpers",
        "my_pack",
        "my_pack.deep",
        "my_pack.features",
    ] == sorted(code_digest.local_modules("my_pack.features", str(project)))
    before = code_digest.code_digest(path, str(project))
    (project / "my_stray.py").write_text("VALUE = 2\n")
    assert code_digest.code_digest(path, str(project)) == before
    for file in ("my_helpers.py", "my_pack/deep.py"):
        (project / file).write_text("VALUE = 2\n")
        after = code_digest.code_digest(path, str(project))
        assert after != before
        before = after


def test_the_digest_is_the_same_in_another_folder(project, tmp_path_factory):
    """A project that was moved is the same code."""
    import shutil

    other = tmp_path_factory.mktemp("other") / "moved"
    path = "my_pack.features.preprocessing_fn"
    one = code_digest.code_digest(path, str(project))
    shutil.copytree(project, other)
    assert code_digest.code_digest(path, str(other)) == one


def test_the_digest_of_norias_own_modules_follows_noria_only():
    """Libraries are not part of the code's digest."""
    modules = code_digest.local_modules("noria.core.code_digest")
    assert "noria.core.errors" in modules
    assert all(name.startswith("noria.") for name in modules)


def test_the_digest_does_not_run_the_code(project):
    """Code that would end the process is digested without being imported."""
    (project / "my_pack" / "features.py").write_text("raise SystemExit\n")
    assert 64 == len(code_digest.code_digest("my_pack.features.preprocessing_fn", str(project)))


def test_a_function_is_reloaded_when_its_project_is_edited(project):
    """A resident process runs the current code, and loads it once while it does not change."""
    path = "my_pack.features.preprocessing_fn"
    assert 1 == user_code.load_function(path, str(project))(1)
    assert user_code.load_function(path, str(project)) is user_code.load_function(path, str(project))
    (project / "my_pack" / "features.py").write_text("def preprocessing_fn(inputs):\n    return inputs + 1\n")
    assert 2 == user_code.load_function(path, str(project))(1)


def test_a_module_of_that_name_in_another_project_is_another_module(project, tmp_path_factory):
    """Two projects' modules of one name are kept apart."""
    other = tmp_path_factory.mktemp("other")
    (other / "my_helpers.py").write_text("def f():\n    return 'other'\n")
    (project / "my_helpers.py").write_text("def f():\n    return 'one'\n")
    for folder, expected in ((project, "one"), (other, "other"), (project, "one")):
        assert user_code.load_function("my_helpers.f", str(folder))() == expected


def test_a_function_by_path_pickles_as_the_path(project):
    """A worker of Beam imports the user's function itself: only its path travels."""
    function = user_code.UserFunction("my_pack.features.preprocessing_fn", str(project))
    assert "x" == function("x")
    text = pickle.dumps(function)
    assert b"my_pack.features.preprocessing_fn" in text
    assert "x" == pickle.loads(text)("x")


def test_a_project_does_not_shadow_a_library(project):
    """A project's json.py is refused, and does not take the standard library's place."""
    (project / "json.py").write_text("raise RuntimeError\n")
    with pytest.raises(ConfigError, match="the project's module json has the same name as"):
        user_code.load_function("json.preprocessing_fn", str(project))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("features", "must be an import path 'module.function', got 'features'"),
        ("my features.fn", "must be an import path"),
        ("my_helper.fn", "no module 'my_helper'"),
        ("my_helpers.VALUE", "does not define as a function"),
        ("my_pack.features.preprocess_fn", "did you mean 'preprocessing_fn'"),
    ],
)
def test_a_wrong_path_is_explained(project, path, message):
    """Each wrong import path is an error that says what is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        user_code.load_function(path, str(project))
    assert message in str(caught.value)
