"""JSON files: objects a line, and lists of objects as people save them."""

import json
from pathlib import Path

import pytest

from noria.core.errors import DataError
from noria.ingestion import json_lines, tables

ROWS = [{"x": i, "word": "ä, [b]" if i % 2 else None, "y": i / 4} for i in range(300)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("block", [1, 7, 8 << 20])
def test_a_list_of_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None, block: int
) -> None:
    """A list gives the rows that JSON lines give, wherever the blocks of the file end."""
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", block)
    rows = ROWS[:20] if block == 1 else ROWS
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=indent, ensure_ascii=False))
    (tmp_path / "b.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [tables.read_table(tmp_path / name).to_pydict() for name in ("a.jsonl", "a.json", "b.json")]
    assert found[0] == found[1] == found[2]
    assert [row["x"] for row in rows] == found[0]["x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"x": 1}, {"x": 2', "after row 1"),
        ('[{"x": 1} {"x" 2}, {"x": 3}]', "after row 1"),
        ('{"rows": [{"x": 1}]}', "one JSON object"),
        ('{\n "rows": [{"x": 1}]\n}', "one JSON object"),
        ("[" * 100_000, "after row 0"),
    ],
)
def test_what_is_no_list_of_objects(tmp_path: Path, text: str, words: str) -> None:
    """The error says where the file cannot be read, and what to do."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=words):
        tables.read_table(tmp_path / "a.json")
