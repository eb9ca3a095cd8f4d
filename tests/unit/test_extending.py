"""The examples of docs/extending.md are a project's files: each one works as the page says."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from noria.pipeline.config import load

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
TESTS = sorted(name for name in FILES if name.startswith("test_"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_config_takes_them(project: Path) -> None:
    """The page's YAML names a class of each kind, and a project with all of them loads."""
    settings = {"name": "rides", "label": "big_tip", "span": "rows:100", "gates": {}}
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL):
        for key, value in yaml.safe_load(block).items():
            settings[key] = value if isinstance(value, list) else {**settings.get(key, {}), **value}
    stream = settings.pop("stream")
    (project / "noria.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    config = load(project)
    assert {"my_sources.Sqlite": {"file": "rides.db", "table": "rides"}} == config.data.source
    assert {"fare": "my_types.Money"} == config.data.types
    assert ["my_measures.Hellinger"] == config.gates.own_measures
    assert ["my_metrics.Brier"] == config.gates.own_metrics
    assert "my_models.Residual" == config.trainer.family
    assert [{"my_targets.Table": "updates.db"}] == config.updates
    settings = {
        "name": "rides",
        "label": {"column": "tip", "classes": [0, 1]},
        "span": "rows:100",
        "stream": stream,
    }
    (project / "noria.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    stream = load(project).stream
    assert ({"my_streams.Lines": "clicks.jsonl"}, "my_formats.MessagePack") == (stream.source, stream.format)


@pytest.mark.parametrize("name", TESTS)
def test_the_pages_tests_pass(project: Path, name: str) -> None:
    """Each test of the page runs the checks of its kind over the class of the page."""
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), project / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for key, value in vars(module).items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()
