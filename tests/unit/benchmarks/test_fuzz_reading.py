"""The fuzzer of the reader: its files are good ones, and some changed ones end in a table or an explained error."""

import json
from pathlib import Path

import pytest

from benchmarks import fuzz_reading


@pytest.mark.parametrize(("name", "data"), fuzz_reading.corpus())
def test_the_corpus_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    """Without a change `noria init` takes each file, and so does ingestion."""
    path = tmp_path / name
    path.write_bytes(data)
    fuzz_reading.for_init(path)
    fuzz_reading.for_spans(path)


def test_changed_files_are_read_or_refused(tmp_path: Path) -> None:
    """The quick mode runs through, without a finding."""
    assert 0 == fuzz_reading.main(["--quick", "--inputs", "50", "--out", str(tmp_path)])
    outcomes = json.loads((tmp_path / "fuzz_reading.json").read_text())["outcomes"]
    assert {"read", "refused"} == set(outcomes) and 50 == sum(outcomes.values())
