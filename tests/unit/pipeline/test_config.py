"""The project's YAML file: what is accepted, what is refused, and in which words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from noria.core.errors import ConfigError
from noria.pipeline.config import Config, explain, load, parse_metadata
from noria.pipeline.config.docs import documentation

ROOT = Path(__file__).parents[3]
SMALLEST = "name: rides\nlabel: big_tip\nspan: rows:100\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "noria.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    return caught.value


def test_smallest(tmp_path: Path) -> None:
    """A name, a label and how to cut the stream are enough; paths start from the file's folder."""
    config = load(written(tmp_path, SMALLEST))
    assert "big_tip" == config.label.column
    assert tmp_path / "home" == config.home_path
    assert tmp_path / "home" / "models" / "rides" == config.model_root
    assert tmp_path / "schema.pbtxt" == config.schema_path
    assert config.metadata_server() is None


def test_folder_means_its_file(tmp_path: Path) -> None:
    """The folder of a project means its noria.yaml."""
    written(tmp_path, SMALLEST)
    assert "rides" == load(tmp_path).name


def test_flights_are_valid() -> None:
    """The flights' own file loads, and its home is outside of its folder, with a normal path."""
    config = load(ROOT / "examples" / "flights")
    assert "late" == config.label.column
    assert ".." not in config.home_path.parts


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ("trainer:\n  batchsize: 3\n", 5, "unknown key `trainer.batchsize`", "`trainer.batch_size`"),
        ("traner: {}\n", 4, "unknown key `traner`", "`trainer`"),
        ("batch_size: 3\n", 4, "unknown key `batch_size`", "`trainer.batch_size`"),
        (
            "gates: {data: {features: {x: {pzi: 1}}}}\n",
            4,
            "`gates.data.features.x.pzi` must be one of js, kl",
            "",
        ),
        (
            "trainer: {family: dnc}\n",
            4,
            "import path such as my_project.module.Class, got 'dnc'; did you mean 'dcn'?",
            "config.md",
        ),
        ("trainer: {batch_size: many}\n", 4, "must be a valid integer, got 'many'", "config.md"),
        ("trainer: {batch_size: 0}\n", 4, "must be greater than or equal to 1, got 0", "config.md"),
        ("window: 3\n", 4, "`window` must hold keys and values, got 3", "spans"),
        ("eval_share: 1.5\n", 4, "must be less than 1, got 1.5", "config.md"),
        ("preprocessing: nodots\n", 4, "must be an import path", "config.md"),
        ("beam: {per_component: {transform: []}}\n", 4, "must name components", "config.md"),
        ("metadata: mysql://u:secret@h\n", 4, "must be sqlite, mysql://", "config.md"),
        ("task: multiclass\n", 1, "`label.classes` must list the classes", "config.md"),
        ("time: big_tip\n", 1, "`label.column` must be neither the time nor the key", "config.md"),
        ("gates: {model: {metrics: {auc: {}}}}\n", 4, "must set at least one of min, max", "config.md"),
        ("gates: {model: {metrics: {acu: {min: 0.5}}}}\n", 4, "got 'acu'; did you mean 'auc'?", "config.md"),
        (
            "gates: {model: {metrics: {rmse: {max: 1}}}}\n",
            1,
            "rmse is not a metric of the task binary",
            "config.md",
        ),
    ],
)
def test_refusals(tmp_path: Path, text: str, line: int, what: str, hint: str) -> None:
    """A wrong key or value is refused with its line, what it must be, and what to do."""
    error = refusal(tmp_path, SMALLEST + text)
    assert f"{tmp_path / 'noria.yaml'}, line {line}" == error.where
    assert what in error.what
    assert hint in error.next_step
    assert "secret" not in str(error)


def test_a_rollout_needs_a_folder(tmp_path: Path) -> None:
    """Candidates are refused with a home in an object store, with the reason."""
    rest = "name: rides\nlabel: {column: b, classes: [0, 1]}\nspan: rows:100\n"
    text = "serving: {rollout: {mode: canary}}\n"
    what = refusal(tmp_path, f"{rest}home: gs://b/h\n{text}").what
    assert "`serving.rollout.mode` needs a home that is a folder" in what
    load(written(tmp_path, f"{rest}{text}"))


def test_long_name(tmp_path: Path) -> None:
    """A name is a Kubernetes label as well: what is longer than one is refused here, not by the compiler."""
    assert "r" * 63 == load(written(tmp_path, SMALLEST.replace("rides", "r" * 63))).name
    error = refusal(tmp_path, SMALLEST.replace("rides", "r" * 64))
    assert "`name` must have at most 63 characters" in error.what


def test_the_same_value_twice_does_no_harm(tmp_path: Path) -> None:
    """A key that is repeated with the same value is not an error, with any quotes."""
    assert "rides" == load(written(tmp_path, SMALLEST + 'name: "rides"\n')).name


def test_all_refusals_at_once(tmp_path: Path) -> None:
    """Every mistake is named, in the order of the lines."""
    error = refusal(tmp_path, "name: Rides\ncolour: red\n")
    lines = error.what.splitlines()
    assert "3 keys are wrong" == lines[0]
    assert ["line 1: `name` must be", "line 1: key `label`", "line 2: unknown key"] == [
        next(
            start
            for start in ("line 1: `name` must be", "line 1: key `label`", "line 2: unknown key")
            if start in line
        )
        for line in lines[1:]
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "must hold keys and values, got nothing"),
        ("- a\n- b\n", "must hold keys and values, got a list"),
        ("name: rides\n label: x\n", "must be YAML"),
        ("name: rides\nname: trips\n", "`name` appears twice, first in line 1"),
        ("trainer:\n  seed: 1\n  seed: 2\n", "`trainer.seed` appears twice"),
    ],
)
def test_not_a_mapping(tmp_path: Path, text: str, what: str) -> None:
    """What is not a YAML mapping, or has a key twice, is refused in words."""
    assert what in refusal(tmp_path, text).what


def test_missing_file(tmp_path: Path) -> None:
    """Where there is no project, the message says how to begin one."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "noria.yaml")
    assert "noria init" in caught.value.next_step


def test_spans_of_time_need_a_time(tmp_path: Path) -> None:
    """Weeks without a time column are refused at once, not in the middle of an ingestion."""
    error = refusal(tmp_path, "name: rides\nlabel: x\n")
    assert "`span.every` must be rows:N where there is no time.column, got 'week'" == error.what


def test_spans_of_a_part_of_an_hour(tmp_path: Path) -> None:
    """Seconds and minutes that divide an hour are possible, others are refused with one that is; segments fit them."""
    error = refusal(tmp_path, "name: rides\nlabel: x\ntime: at\nspan: 7m\n")
    assert "7m does not divide an hour evenly, 6m does" in error.what
    (tmp_path / "noria.yaml").write_text("name: rides\nlabel: x\ntime: at\nspan: 10s\n")
    config = load(tmp_path / "noria.yaml")
    assert "10s" == config.span.every
    seconds = [config.stream.for_ingester(every).segment_seconds for every in ("10s", "1m", "hour", "week")]
    assert [1, 6, 10, 600] == seconds


def test_metadata() -> None:
    """A server's URL gives its parts, with the port that it has by default and escaped characters."""
    expected = {
        "kind": "postgresql",
        "host": "db",
        "port": 5432,
        "database": "mlmd",
        "user": "noria",
        "password": "p@ss/word",
    }
    assert expected == parse_metadata("postgresql://noria:p%40ss%2Fword@db/mlmd")
    assert 3307 == parse_metadata("mysql://u:p@h:3307/d")["port"]


def test_moved(tmp_path: Path) -> None:
    """A config moved to another home shares nothing that is written with the first one."""
    config = load(written(tmp_path, SMALLEST + "metadata: mysql://u:p@h/d\n"))
    moved = config.moved_to(tmp_path / "other")
    assert tmp_path / "other" == moved.home_path
    assert moved.metadata_server() is None
    assert config.folder == moved.folder


def test_digest_knows_what_matters(tmp_path: Path) -> None:
    """Comments don't change the digest of the settings, a setting does."""
    first = load(written(tmp_path, SMALLEST)).digest()
    assert first == load(written(tmp_path, "# hello\n" + SMALLEST)).digest()
    assert first != load(written(tmp_path, SMALLEST + "eval_share: 0.3\n")).digest()


def test_digest_knows_no_places(tmp_path: Path) -> None:
    """The same project has one digest in every folder and with every home; another source has another one."""
    digests = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        for source in ("data: events/*.csv\n", "data: {source: events/*.csv}\n", "data: other.csv\n"):
            config = load(written(tmp_path / name, SMALLEST + source))
            assert config.digest() == config.moved_to(tmp_path / "home").digest()
            digests.append(config.digest())
    assert digests[:3] == digests[3:]
    assert 2 == len(set(digests))


def test_agrees_with_the_components(tmp_path: Path) -> None:
    """The config and the components have the same defaults and keys."""
    from noria.components.example_gen.window import Window
    from noria.components.trainer.settings import read

    config = load(written(tmp_path, SMALLEST))
    assert "big_tip" == read(config.trainer_settings()).label
    assert Window() == Window.from_json(json.dumps(config.window_settings()))


def test_events(tmp_path: Path) -> None:
    """Ingestion gets every key of `data`, and the columns of `key` are read even if `columns` omits them."""
    text = SMALLEST + "key: [id]\ndata: {columns: [miles], missing: '?', types: {zip: string}}\n"
    settings = load(written(tmp_path, text)).event_settings()
    assert ("id", "miles") == settings.columns
    assert ("?",) == settings.missing
    assert {"zip": "string"} == settings.types


def test_documentation_is_current() -> None:
    """docs/config.md is what the code says: `make docs` writes it."""
    assert documentation() == (ROOT / "docs" / "config.md").read_text(encoding="utf-8")


def test_every_key_is_described() -> None:
    """No key goes without a sentence that ends."""
    for name, field, _ in explain.walk(Config):
        assert (field.description or "").rstrip("`").endswith("."), name


def test_imports_nothing_heavy() -> None:
    """The config is read by commands that must start at once: no TFX, no TensorFlow, no pandas."""
    code = "import noria.pipeline.config, sys; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set() == {"tfx", "tensorflow", "apache_beam", "pandas", "pyarrow", "numpy"} & set(loaded)
