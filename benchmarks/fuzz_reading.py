"""Bytes that nobody meant, through the reading of `noria init` and of ingestion: no traceback, no hang, no crash.

    python -m benchmarks.fuzz_reading [--inputs 1000000] [--first 0] [--quick]

Each input is a file of a small corpus (CSV, JSON and Parquet in the shapes that people write), changed at random; the
input's number is its seed; `noria init` reads those of even numbers, ingestion the others. A finding is anything but a
result or an error that Noria explains. Inputs run in a process of their own, a chunk at a time, so that a crash of a
library is a finding too. Findings go to <out>/findings/. Writes fuzz_reading.json and returns 1 where there was a
finding.
"""

import bz2
import collections
import contextlib
import datetime
import gzip
import io
import json
import lzma
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import measure
from noria.core.errors import NoriaError
from noria.ingestion import conversion, csv_file, tables
from noria.ingestion.dead_letters import DeadLetters
from noria.ingestion.events import EventSettings, events
from noria.ingestion.labels import Labels
from noria.pipeline.init import flat, inference, leaks, time_formats

CHUNK = 5_000
# Seconds after which an input hangs: in Python's code, and in a library's that no signal interrupts.
HANG, STUCK = 20, 90
TOKENS = [
    *(
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"|",
        b"\n",
        b"\r",
        b"\r\n",
        b"\x00",
        b"\\",
        b" ",
        b":",
        b"=",
        b"%",
        b"#",
    ),
    *(
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xa0",
        b"\xe2\x80\xaf",
        "\ufdd0".encode(),
        "价格".encode(),
        b"\x1a",
    ),
    *(
        b"-",
        b"+",
        b".",
        b"1e999",
        b"-1e-999",
        b"inf",
        b"NaN",
        b"0x1F",
        b"007",
        b"9" * 25,
        b"1,234",
        b"1.234,5",
        b"1e5",
    ),
    *(
        b"2024-02-30",
        b"0000-00-00",
        b"99999-12-31",
        b"2024-05-01T25:00",
        b"31/12/2024",
        b"20240501",
        b"253402300800",
    ),
    *(
        b"true",
        b"null",
        b"None",
        b"?",
        b"N/A",
        b"{",
        b"}",
        b"[",
        b"]",
        b'{"x":',
        b"PAR1",
        b"\x1f\x8b",
        b"PK\x03\x04",
    ),
]


def corpus() -> list[tuple[str, bytes]]:
    """Names and bytes of whole files: each shape with two sets of columns, as a column costs more than a row."""
    return [*_files(("at", "n", "y")), *_files(("amount", "wörd", "gap", "y"))]


def _files(wanted: Sequence[str]) -> list[tuple[str, bytes]]:
    begin = datetime.datetime(2024, 5, 6, 7)
    whole = [
        {
            "at": (begin + datetime.timedelta(hours=7 * i)).isoformat(" "),
            "n": i * 37 % 1000,
            "amount": f"{(i * 7919 % 100_000) / 8:.2f}",
            "wörd": ["Köln", "a b", 'x"y', "", "价格", "l1\nl2"][i % 6],
            "gap": "?" if i % 5 == 0 else i,
            "y": ["yes", "no"][i % 3 == 0],
        }
        for i in range(20)
    ]
    rows = [{name: row[name] for name in wanted} for row in whole]
    found: list[tuple[str, bytes]] = []
    for delimiter, end, decimal, code in (
        (",", "\n", ".", "utf-8"),
        (";", "\r\n", ",", "cp1252"),
        ("\t", "\r", ".", "utf-16"),
        ("|", "\n", ".", "utf-8-sig"),
        (",", "\r\n", ".", "utf-32"),
    ):
        lines = [delimiter.join(rows[0])]
        for row in rows:
            fields = [str(value) for value in row.values()]
            if wanted[0] == "amount":
                fields[0] = fields[0].replace(".", decimal)
            marked = [
                f'"{f}"'.replace('x"y', 'x""y') if set(f) & {'"', "\n", delimiter} else f for f in fields
            ]
            lines.append(delimiter.join(marked))
        text = end.join(lines) + end
        found.append(("a.csv", text.encode(code, "replace")))
    plain = found[0][1]
    found += [("a.tsv", found[2][1]), ("a.csv", plain), ("a.csv", found[1][1])]
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    found += [(f"a.csv.{suffix}", pack(plain)) for suffix, pack in packers.items()]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", plain)
    found.append(("a.zip", packed.getvalue()))
    objects = [{**row, "deep": {"k": [row["y"]]}} for row in rows]
    found.append(("a.jsonl", "\n".join(json.dumps(row) for row in objects).encode()))
    found.append(("a.json", json.dumps(objects, indent=1, ensure_ascii=False).encode()))
    columns = {
        "at": pa.array([begin + datetime.timedelta(hours=i) for i in range(20)]),
        "n": pa.array(range(20), pa.uint8()),
        "d": pa.array([i / 4 for i in range(20)]).cast(pa.decimal128(9, 2)),
        "word": pa.array(["a", "ü"] * 10).dictionary_encode(),
        "raw": pa.array([b"\xc3\xa4", b"x"] * 10),
        "list": pa.array([[1], None] * 10),
        "y": pa.array([True, False] * 10),
    }
    typed = ("at", "n", "d", "y") if "n" in wanted else ("word", "raw", "list", "y")
    for codec in ("snappy", "none"):
        sink = io.BytesIO()
        pq.write_table(pa.table({name: columns[name] for name in typed}), sink, compression=codec)
        found.append(("a.parquet", sink.getvalue()))
    return found


def mutated(number: int, seeds: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Input `number`: a file of the corpus after one to eight changes."""
    rng = random.Random(number)
    name, data = rng.choice(seeds)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(8)
        if kind == 0 and changed:
            changed[at % len(changed)] = rng.randrange(256)
        elif kind == 1:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 2:
            token = rng.choice(TOKENS)
            changed[at : at + len(token)] = token
        elif kind == 3:
            del changed[at : at + rng.choice((1, 2, 10, 200))]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.choice((1, 20, 300))] * rng.choice((1, 2, 20))
        elif kind == 5:
            del changed[at:]
        elif kind == 6:
            other = rng.choice(seeds)[1]
            start = rng.randrange(len(other))
            changed[at:at] = other[start : start + rng.choice((5, 50, 500))]
        else:
            old, new = rng.choice(TOKENS), rng.choice(TOKENS)
            changed = bytearray(bytes(changed).replace(old, new, rng.choice((1, 5, 100))))
    if rng.random() < 0.02:
        name = rng.choice(seeds)[0]
    return name, bytes(changed[: 1 << 20])


def read(number: int, path: Path) -> bool:
    """Reads a file as `noria init` does (an even number), or as ingestion does; returns whether it is read."""
    try:
        (for_spans if number % 2 else for_init)(path)
    except NoriaError:
        return False
    return True


def for_init(path: Path) -> None:
    """Reads a file as `noria init` does, its last column for the label.

    Raises:
      NoriaError: it is refused.
    """
    source = tables.open_tables(path)
    texts, marks, no_texts = flat.typed_texts(source, ())
    kept = [name for name in source[0].columns if name not in {**flat.unreadable(source), **no_texts}]
    if not kept:
        return
    missing = tuple(marks | flat.marks(source, kept, {}))
    flat.declare_missing(source, missing)
    types = conversion.resolved({name: kind for name, kind in texts.items() if name in kept})
    kinds = tables.columns_of(source, wanted=kept, types=types)
    flat.ambiguous(source, kinds)
    table = tables.read_table(source, columns=kinds, missing=missing)
    with contextlib.suppress(NoriaError):
        time_formats.event_times(table.column(kept[0]), kept[0])
    moments = [name for name, kind in kinds.items() if kind.is_time]
    label = inference.label(table.column(kept[-1]), kept[-1], None, kinds[kept[-1]].name == "bool")
    coded = inference.encoded(table.column(kept[-1]), label)
    forms = flat.written_times(table, kinds, kept[-1:])
    day_first = time_formats.day_first(list(forms.values()))
    forms = {name: time_formats.preferred(each, day_first) for name, each in forms.items()}
    table, further, mixed = flat.further_times(table, kinds, kept[-1:], forms)
    columns = inference.columns(table, kept[-1], None, [], [*moments, *further], mixed)
    leaks.found(table, coded, [*columns.numeric, *columns.categorical], label.task != "regression")


def for_spans(path: Path) -> None:
    """Reads a file as ingestion does, its first column for the time, where bad rows are dead letters.

    Raises:
      NoriaError: it is refused.
    """
    source = tables.open_tables(path)
    kept = [name for name in source[0].columns if name not in flat.unreadable(source)]
    if not kept:
        return
    label, time = kept[-1], kept[0]
    task = "regression" if label == "n" else "multiclass"
    settings = EventSettings(label, task, time=time if time != label else None, every="rows:5")
    kinds = tables.columns_of(source, wanted=kept, as_it_is=settings.as_it_is)
    labels = Labels(label, task, None)
    with DeadLetters(None, "a", "", max_bad_share=1.0) as letters:
        rows = tables.read(source, kinds, letters, as_it_is=settings.as_it_is)
        for part in events(rows, settings, labels, letters, 2e9):
            part.batch.validate(full=True)
    labels.settle()


class Hang(BaseException):
    """An input that takes too long."""


def chunk(first: int, count: int, folder: Path) -> None:
    """Runs some inputs; findings go to `folder`, the outcomes to its outcomes.json."""

    def stop(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    csv_file.BLOCKS = (16 << 10, 256 << 10, 64 << 20)  # small ones are fast, and longer rows meet their ends
    seeds = corpus()
    outcomes: collections.Counter[str] = collections.Counter()
    for number in range(first, first + count):
        name, data = mutated(number, seeds)
        path = folder / "current" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        (folder / "number").write_text(str(number))
        signal.alarm(HANG)
        try:
            outcomes["read" if read(number, path) else "refused"] += 1
        except (Exception, Hang):
            outcomes["findings"] += 1
            keep(folder, number, path, traceback.format_exc())
        finally:
            signal.alarm(0)
        path.unlink()
    (folder / "outcomes.json").write_text(json.dumps(outcomes))


def keep(folder: Path, number: int, path: Path, said: str) -> None:
    """Keeps an input and what it led to."""
    kept = folder / "findings" / str(number)
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, kept / path.name)
    (kept / "traceback.txt").write_text(said)


def chunks(first: int, count: int, folder: Path) -> Iterator[dict[str, int]]:
    """Runs inputs in separate processes; yields the outcomes of each."""
    end = first + count
    while first < end:
        number, outcomes = folder / "number", folder / "outcomes.json"
        outcomes.unlink(missing_ok=True)
        number.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.fuzz_reading", "--first", str(first)]
        command += ["--inputs", str(min(CHUNK, end - first)), "--chunk", str(folder)]
        process = subprocess.Popen(command, cwd=measure.ROOT)
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            if number.exists() and time.time() - number.stat().st_mtime > STUCK:
                process.kill()
        if outcomes.exists():
            yield json.loads(outcomes.read_text())
            first += min(CHUNK, end - first)
            continue
        if not number.exists():
            raise RuntimeError(f"no input ran: exit code {process.returncode}")
        at = int(number.read_text())  # it crashed, or hangs where no signal reaches it
        for path in (folder / "current").iterdir():
            keep(folder, at, path, f"the process ended with {process.returncode}\n")
        yield {"findings": 1, "before": at - first}
        first = at + 1


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where there was a finding."""
    parser = measure.parser(__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--chunk", type=Path, help="run these inputs in this process, with this folder")
    options = measure.options(parser, argv)
    if options.given.chunk is not None:
        chunk(options.given.first, options.given.inputs, options.given.chunk)
        return 0
    count = options.size(options.given.inputs, min(options.given.inputs, 300))
    machine, started = options.machine(), time.monotonic()
    total: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="noria-fuzz-") as name:
        for outcomes in chunks(options.given.first, count, Path(name)):
            total.update(outcomes)
            print(dict(total), flush=True)
        found = Path(name) / "findings"
        if found.exists():
            shutil.copytree(found, options.out / "findings", dirs_exist_ok=True)
    seconds = time.monotonic() - started
    options.save("fuzz_reading", {"inputs": count, "outcomes": dict(total), "seconds": seconds}, machine)
    return int(total["findings"] > 0)


if __name__ == "__main__":
    sys.exit(main())
