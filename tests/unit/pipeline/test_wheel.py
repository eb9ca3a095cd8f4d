"""The wheel around a turn: replays, what is kept of old runs, and what a failed turn leaves. No turn trains here."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from noria.pipeline import wheel
from noria.pipeline.config import Config, load
from noria.stores import files
from noria.stores.errors import SpanError
from noria.stores.registry import Registry, Turn
from noria.stores.spans import SpanStore

SETTINGS = """
name: rides
label: late
span: rows:10
window: {first: 1}
retention: 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "noria.yaml").write_text(SETTINGS, encoding="utf-8")
    return load(tmp_path)


def commit(config: Config, *spans: int, **facts: Any) -> None:
    """Spans of one row."""
    for span in spans:
        SpanStore(config.home_path).commit(span, [pa.table({"late": [1]})], source="a", **facts)


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In place of TFX: a turn leaves an artifact and its entry in the registry. The spans that it was asked for."""
    asked: list[int] = []

    def run(config: Config, span: int, mode: str, run_id: str, folder: Path, tell: Any) -> list[Any]:
        asked.append(span)
        artifact(config, run_id)
        Registry(config.home_path).record_turn(Turn(span, run_id, data_verdict="ok", mode=mode))
        return []

    monkeypatch.setattr(wheel, "_run", run)
    monkeypatch.setattr(wheel.probe, "start_ahead", lambda: None)
    return asked


def artifact(config: Config, run_id: str) -> None:
    """What a run leaves in its folder of artifacts."""
    (config.home_path / "tfx" / run_id / "Trainer" / "model" / "1").mkdir(parents=True)


def test_replay_turns_on_the_history_alone(config: Config, tmp_path: Path, turns: list[int]) -> None:
    """Spans up to `last`, and no farther; what the source has brought since is not read."""
    commit(config, 1, 2, 3)
    (tmp_path / "more.csv").write_text("late\n" + "0\n" * 50)
    ahead = config.model_copy(
        update={"data": config.data.model_copy(update={"source": str(tmp_path / "more.csv")})}
    )
    home = tmp_path / "replay"
    assert [1, 2] == [turn.span for turn in wheel.replay(ahead, home, last=2)]
    assert [1, 2] == SpanStore(home).ids()
    assert [] == Registry(config.home_path).turns()
    # Gone on with; and what waits there beyond `last` goes on waiting.
    wheel.replay(ahead, home)
    assert [1, 2, 3] == turns
    commit(config, 4, 5)
    wheel._link_spans(config.home_path, home, None)
    assert [4] == [turn.span for turn in wheel.replay(ahead, home, last=4)]


def test_replay_takes_later_versions_and_no_quarantine(
    config: Config, tmp_path: Path, turns: list[int]
) -> None:
    """A span in quarantine is judged anew; its corrected delivery arrives in a replay that has the older version."""
    commit(config, 1, 2)
    SpanStore(config.home_path).quarantine(2, "bad")
    home = tmp_path / "replay"
    wheel.replay(config, home)
    assert ([1, 2], {}) == (turns, SpanStore(home).quarantined())
    commit(config, 2, late=True)
    wheel.replay(config, home)
    assert 2 == SpanStore(home).manifest(2).version
    linked = SpanStore(home).manifest(2).folder / "data-00000.parquet"
    assert linked.samefile(SpanStore(config.home_path).manifest(2).folder / "data-00000.parquet")


def test_replay_that_was_killed_goes_on(
    config: Config, tmp_path: Path, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between two files leaves no half of a span, and the next replay has it whole."""
    commit(config, 1)
    home = tmp_path / "replay"

    def killed(source: Path, target: Path, **_: Any) -> None:
        target.mkdir(parents=True)
        shutil.copy(source / "data-00000.parquet", target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "copy_tree", killed)
        wheel.replay(config, home)
    assert [] == SpanStore(home).ids()
    assert [1] == [turn.span for turn in wheel.replay(config, home)]
    SpanStore(home).verify(1)
    assert [] == list((home / "spans").glob(f"{files.STAGING}*"))


@pytest.mark.parametrize(("last", "what"), [(None, "no span to replay"), (3, "no span up to 3 to replay")])
def test_replay_of_nothing(config: Config, tmp_path: Path, last: int | None, what: str) -> None:
    """Without a history the replay says so, not that the config names no source; nor does it turn in place."""
    if last is not None:
        commit(config, 4)
    with pytest.raises(SpanError, match=what):
        wheel.replay(config, tmp_path / "replay", last=last)
    with pytest.raises(SpanError, match="a home of its own"):
        wheel.replay(config, config.home_path)
