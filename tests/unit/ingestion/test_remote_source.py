"""The source kind `remote`: an S3 server (moto) and a web server, both real ones in this process."""

import functools
import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from noria.core.errors import ConfigError, DataError
from noria.ingestion.source_contract import check_source
from noria.ingestion.sources.remote import Remote
from noria.pipeline.config import load
from noria.pipeline.runs.ingest import ingest


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[Any, str]]:
    """An S3 client and the server's URL."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "s3cret/+", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket="rides")
    yield client, f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, its URL, and the requests so far."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form: str, *args: Any) -> None:
            asked.append(str(args[0]))

    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_objects_are_fetched_once(
    store: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New objects of a prefix are read, with the keys of their folders as columns; an object that grew brings its new
    rows."""
    client, url = store

    def put(key: str, body: str) -> None:
        client.put_object(Bucket="rides", Key=key, Body=body.encode())

    put("in/year=2023/a.csv", "fare,tip\n1.5,0\n2.5,1\n")
    put("in/year=2024/a.csv", "fare,tip\n1.5,0\n2.5,1\n")
    put("in/year=2024/_SUCCESS", "")
    put("in/readme.md", "no table")
    monkeypatch.setenv("S3_SECRET", "s3cret/+")
    options = f"{{endpoint_url: '{url}', key: key, secret: '${{S3_SECRET}}'}}"
    (tmp_path / "noria.yaml").write_text(
        "name: rides\nlabel: tip\nspan: rows:2\n"
        f"data: {{source: {{remote: {{url: 's3://rides/in/', options: {options}}}}}}}\n"
    )
    config = load(tmp_path)
    report = ingest(config, lambda record: None)
    assert (4, 0) == (report["rows"], report["dead_letters"])
    with monkeypatch.context() as patch:
        patch.setattr("s3fs.S3FileSystem.get_file", None)  # nothing is fetched again
        assert 0 == ingest(config, lambda record: None)["rows"]
    put("in/year=2024/b.csv", "fare,tip\n7.5,0\n")
    put("in/year=2023/a.csv", "fare,tip\n1.5,0\n2.5,1\n3.5,1\n")
    report = ingest(config, lambda record: None)
    assert 2 == report["rows"]
    assert "s3://rides/in/year=2023/a.csv" in report["notes"][0]


def test_an_s3_url_keeps_the_contract(
    store: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL alone is enough where the environment holds the credentials; one object and a glob are sources too."""
    client, url = store
    client.put_object(Bucket="rides", Key="one/a.csv", Body=b"x,y\n1,2\n")
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "s3cret/+"), ("ENDPOINT_URL", url)):
        monkeypatch.setenv(f"AWS_{name}", value)
    for given in ("s3://rides/one/a.csv", "s3://rides/one", "s3://rides/o*/*.csv"):
        source = Remote(given, tmp_path, tmp_path / given.replace("/", "_"))
        check_source(source)
        assert ["s3://rides/one/a.csv"] == [each.name for each in source.find()]
    with pytest.raises(DataError, match="no CSV, JSON or Parquet file"):
        Remote("s3://rides/two/", tmp_path).find()
    with pytest.raises(DataError, match="cannot be fetched"):
        Remote("s3://trips/one/", tmp_path).find()


def test_a_web_server(web: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    """A file and a listing are read; what has not changed is not fetched again, and no message shows a token."""
    folder, url, asked = web
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "b.json").write_text('[{"x": 1, "y": 3}]')
    for given, names in ((f"{url}/a.csv?token=s3cret", ["a.csv"]), (f"{url}/", ["a.csv", "b.json"])):
        source = Remote(given, tmp_path, tmp_path / f"landing{len(names)}")
        check_source(source)
        assert [f"{url}/{name}" for name in names] == [each.name for each in source.find()]
    fetched = [line for line in asked if line.startswith("GET") and "a.csv" in line]
    assert 2 == len(fetched), fetched
    with pytest.raises(DataError, match="cannot be fetched") as caught:
        Remote(f"{url}/none.csv?token=s3cret", tmp_path).find()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"uri": "s3://a"}, ConfigError, "url"),
        ("nonsense://a/b.csv", DataError, "nonsense"),
        ("http://127.0.0.1:1/a.csv", DataError, "cannot be fetched"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, given: Any, error: type[Exception], words: str) -> None:
    """The error names what to correct."""
    with pytest.raises(error, match=words):
        Remote(given, tmp_path).find()


def test_a_store_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gcsfs the error names what to install."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"noria\[remote\]"):
        Remote("gs://a/b.csv", tmp_path).find()
