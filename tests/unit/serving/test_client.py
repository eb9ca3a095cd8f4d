"""The client and `noria predict` against a real server, by both protocols."""

import csv
import io

import pytest
from typer.testing import CliRunner

from noria.core.errors import ServingError
from noria.pipeline.cli import app
from noria.pipeline.cli.predict import _flat
from noria.serving import client


@pytest.fixture(scope="module")
def server(small_models, serving):
    with serving(str(small_models / "pair"), "--name", "pair") as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def url(server, request):
    return f"{request.param}://127.0.0.1:{server.rest if request.param == 'http' else server.grpc}"


def test_columns_in_columns_out(url) -> None:
    """Both protocols give the same columns, bytes and booleans included, and the types of the inputs."""
    asked = client.connect(url, "pair")
    assert {"number": "int64", "word": "string"} == asked.signatures()["serving_default"]
    found = asked.predict({"number": [1, 20], "word": [b"a", "b"]})
    assert ([2, 40], [False, True]) == (found["double"], found["large"])
    assert [b"a", b"b"] == found["raw_bytes"]
    found = asked.predict({"number": [None, 20], "word": ["a", None]})
    assert ([False, True], [b"a", b""]) == (found["large"], found["raw_bytes"])
    with pytest.raises(ServingError, match="the server answered"):
        client.connect(url, "absent").predict({"number": [1]})
    asked.close()


def test_the_command_reads_csv(url, tmp_path) -> None:
    """`noria predict` writes a CSV with a row for each row, also where they take several requests."""
    file = tmp_path / "rows.csv"
    file.write_text("number,word,other\n1,a,x\n2,b,y\n30,c,z\n")
    done = CliRunner().invoke(
        app.app, ["predict", str(file), "--url", url, "--model", "pair", "--batch", "2"]
    )
    assert 0 == done.exit_code, done.output
    rows = list(csv.DictReader(io.StringIO(done.output)))
    assert [("2", "a", "False"), ("4", "b", "False"), ("60", "c", "True")] == [
        (row["double"], row["word"], row["large"]) for row in rows
    ]


def test_the_command_reads_as_the_project_does(url, tmp_path, monkeypatch) -> None:
    """In the project's folder the model's name and the format of its times come from noria.yaml."""
    (tmp_path / "noria.yaml").write_text(
        "name: pair\nlabel: hit\nspan: rows:10\ntime: {column: number, format: '%m/%d/%Y %H:%M:%S'}\n"
    )
    file = tmp_path / "rows.csv"
    file.write_text("number,word\n1/1/1970 0:00:07,a\n1/2/1970 0:00:00,NA\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app.app, ["predict", str(file), "--url", url])
    assert 0 == done.exit_code, done.output
    rows = list(csv.DictReader(io.StringIO(done.output)))
    assert [("14", "a"), ("172800", "")] == [(row["double"], row["word"]) for row in rows]
    done = CliRunner().invoke(
        app.app, ["predict", "-", "--url", url, "--config", str(tmp_path)], input=file.read_text()
    )
    assert 0 == done.exit_code, done.output
    done = CliRunner().invoke(app.app, ["predict", str(file), "--url", url, "--model", "other"])
    assert "no signature" in done.output or "the server answered" in done.output


def test_an_output_of_several_numbers_has_a_column_for_each() -> None:
    """They are named by the label's classes where there are as many, and numbered otherwise."""
    outputs = {"score": [[0.1, 0.9], [0.7, 0.3]], "word": [b"a", b"b"], "one": [[1], [2]]}
    assert {
        "score_gull": [0.1, 0.7],
        "score_owl": [0.9, 0.3],
        "word": ["a", "b"],
        "one": [1, 2],
    } == _flat(outputs, ("gull", "owl"))
    assert ["score_0", "score_1", "word", "one"] == list(_flat(outputs, ()))


def test_the_command_says_what_a_time_needs(url, tmp_path) -> None:
    """Without the project a time in another form than seconds is refused, with what to do."""
    file = tmp_path / "rows.csv"
    file.write_text("number,word\n1/1/1970 0:00:07,a\n")
    done = CliRunner().invoke(app.app, ["predict", str(file), "--url", url, "--model", "pair"])
    assert 0 != done.exit_code
    assert "is not a whole number" in done.output
    assert "--config" in done.output
