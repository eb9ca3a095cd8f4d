"""How often the data gate is wrong: ordinary spans that it stops, and faults that it does not see.

    python -m benchmarks.gate_rates [--seeds 101,102] [--spans 40] [--streams sales,air]

Ten made-up streams (`gate_streams`), each span judged after the spans before it, as in a run: the span before and the
last two accepted ones together are the references. Then every fault of `gate_faults` in a few spans. In one process,
with TFDV's statistics and without TFX's executors. Beside it, TFDV's own `validate_statistics` with the same schema and
the same span before. Seeds below 100 were used to choose the thresholds; judge by others. Writes gate_rates.json.
"""

import argparse
import collections
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import tensorflow_data_validation as tfdv

from benchmarks.gate_faults import FAULTS, LENGTHS
from benchmarks.gate_streams import STREAMS, Stream
from noria.components.data_gate import history, lasting
from noria.components.data_gate.data_verdict import Evidence, Verdict, judge
from noria.components.data_gate.finding import BROKEN, OK
from noria.components.data_gate.history import Past
from noria.components.data_gate.settings import DataGateSettings
from noria.components.statistics_cache import fingerprint
from noria.components.statistics_gen.in_process import options
from noria.components.statistics_gen.summarize import summarize
from noria.pipeline.init.schema_inference import infer
from noria.schemas.list_columns import list_batches

# Spans that the schema is inferred from, as `noria init` does; they are not judged.
DRAFT = 4


class Judge:
    """The data gate on one stream, span by span."""

    def __init__(self, stream: Stream, seed: int):
        self.stream, self.seed, self.settings = stream, seed, DataGateSettings()
        first = [stream.span(seed, number) for number in range(DRAFT)]
        self.schema = infer(pa.concat_tables(first), "y", "t" if stream.timed else None)
        self.options = options(self.schema, "y", stream.task, "t" if stream.timed else "")
        self.tables: list[tuple[int, pa.Table]] = []
        self.statistics: dict[int, object] = {}
        self.held: list[lasting.Held] = []
        self.since = 0
        self.champion: tuple = ((), None)

    def summarize(self, table: pa.Table):
        """TFDV's statistics of a table."""
        return summarize(list_batches(table), self.options)

    def past(self, span: int, table: pa.Table) -> Past:
        """The span's manifest."""
        if not self.stream.timed:
            return Past(span, len(table), None)
        t = table["t"].to_numpy()
        return Past(span, len(table), (int(t.min()), int(t.max())))

    def look(self, span: int, table: pa.Table) -> tuple[Verdict, Evidence]:
        """Judges a table as a span; changes nothing."""
        mine = self.summarize(table)
        marks = {number: fingerprint(found.datasets[0]) for number, found in self.statistics.items()}
        for mark in (*marks.values(), current := fingerprint(mine.datasets[0])):
            mark.pop("t", None)
        usual = [(number, one) for number, one in self.tables if number >= self.since]
        references = {}
        if usual:
            references[f"previous span {usual[-1][0]}"] = self.statistics[usual[-1][0]]
        if len(usual) > 1:
            numbers = tuple(number for number, _ in usual[-2:])
            if self.champion[0] != numbers:
                both = pa.concat_tables([one for _, one in usual[-2:]])
                self.champion = (numbers, self.summarize(both))
            references["champion"] = self.champion[1]
        past = [self.past(number, one) for number, one in self.tables]
        evidence = Evidence(
            span=self.past(span, table),
            statistics=mine,
            schema=self.schema,
            references=references,
            past=past,
            usual=history.usual(past, len(table), self.settings.thin, self.since),
            past_statistics=[self.statistics[number] for number, _ in usual[-8:]],
            fingerprints={**marks, span: current},
            unlabelled=(0, len(table)),
            label="y",
            time="t" if self.stream.timed else "",
            task=self.stream.task,
            every=self.stream.every,
        )
        return judge(evidence, self.settings), evidence

    def take(self, span: int, table: pa.Table, verdict: Verdict, evidence: Evidence) -> Verdict:
        """Remembers a span that was judged; what has lasted is accepted."""
        result = verdict
        if verdict.verdict == BROKEN:
            accepted = lasting.accept(verdict, evidence, self.held, self.settings)
            if accepted is None:
                self.held.append(lasting.Held(evidence.span, frozenset(verdict.broken), evidence.statistics))
                return verdict
            result, self.since = accepted, span
        self.held = []
        self.tables.append((span, table))
        self.statistics[span] = evidence.statistics
        return result

    def tfdv(self, statistics) -> list[str]:
        """The columns that TFDV's own validation has something against, with the span before."""
        found = tfdv.validate_statistics(
            statistics,
            self.schema,
            environment="TRAINING",
            previous_statistics=self.statistics[self.tables[-1][0]],
        )
        columns = [".".join(info.path.step) or name for name, info in found.anomaly_info.items()]
        return columns + ["" for _ in found.dataset_anomaly_info.reason]


@dataclasses.dataclass(frozen=True)
class Row:
    """One judgement: of an ordinary span (`fault` empty) or of a spoilt one."""

    stream: str
    seed: int
    span: int
    fault: str
    verdict: str
    named: bool
    tfdv: bool
    tfdv_named: bool
    reason: str


def run(stream: Stream, seed: int, spans: int, fault_spans: Sequence[int]) -> list[Row]:
    """Goes through a stream."""
    gate, rows = Judge(stream, seed), []
    for span in range(DRAFT, DRAFT + spans):
        table = stream.span(seed, span)
        if span in fault_spans and gate.tables:
            for fault in FAULTS:
                spoilt = fault.inject(table, gate.tables[-1][1], stream)
                if spoilt is None:
                    continue
                verdict, evidence = gate.look(span, spoilt)
                column = getattr(stream, fault.column, "")
                named = any(
                    one.severity != OK
                    and one.check in fault.checks
                    and (not column or column in (one.feature, ""))
                    for one in verdict.findings
                )
                columns = gate.tfdv(evidence.statistics)
                reason = verdict.reasons[0] if verdict.reasons else ""
                rows.append(
                    Row(
                        stream.name,
                        seed,
                        span,
                        fault.name,
                        verdict.verdict,
                        named,
                        bool(columns),
                        not column or column in columns if columns else False,
                        reason,
                    )
                )
        previous = gate.tables[-1:]
        verdict, evidence = gate.look(span, table)
        columns = gate.tfdv(evidence.statistics) if previous else []
        verdict = gate.take(span, table, verdict, evidence)
        reason = verdict.reasons[0] if verdict.reasons else ""
        rows.append(Row(stream.name, seed, span, "", verdict.verdict, False, bool(columns), False, reason))
    return rows


def tables(rows: Sequence[Row]) -> str:
    """Both tables as Markdown."""
    lines = [
        "| stream | spans | ok | drifted | broken | TFDV: spans with an anomaly |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    ordinary = [row for row in rows if not row.fault]
    for name in [*dict.fromkeys(row.stream for row in rows), "all"]:
        mine = [row for row in ordinary if name in (row.stream, "all")]
        count = collections.Counter(row.verdict for row in mine)
        told = sum(row.tfdv for row in mine)
        lines.append(
            f"| {name} | {len(mine)} | {count['ok']} | {count['drifted']} | {count['broken']} | {told} |"
        )
    lines += [
        "",
        "| fault | injected | caught by the right name | of them `broken` | any finding | TFDV: the column |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    spoilt = [row for row in rows if row.fault]
    for name in [*dict.fromkeys(row.fault for row in spoilt), "all"]:
        mine = [row for row in spoilt if name in (row.fault, "all")]
        named = [row for row in mine if row.named]
        broken = sum(row.verdict == BROKEN for row in named)
        any_finding = sum(row.verdict != OK for row in mine)
        told = sum(row.tfdv_named for row in mine)
        lines.append(f"| {name} | {len(mine)} | {len(named)} | {broken} | {any_finding} | {told} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where more than 1 ordinary span in 200 is broken, or less than 95 % of the faults are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="101,102")
    parser.add_argument("--spans", type=int, default=40)
    parser.add_argument("--fault-spans", default="16,29", help="in which every fault is injected")
    parser.add_argument("--streams", default="", help="names; all by default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gate_rates.json")
    given = parser.parse_args(argv)
    started = time.monotonic()
    wanted = [one for one in STREAMS if not given.streams or one.name in given.streams.split(",")]
    rows: list[Row] = []
    for seed in map(int, given.seeds.split(",")):
        for stream in wanted:
            assert stream.every.startswith("rows:") or stream.every in LENGTHS
            rows += run(stream, seed, given.spans, [int(one) for one in given.fault_spans.split(",")])
            print(f"{stream.name} {seed} {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    for row in rows:
        if (row.fault and not row.named) or (not row.fault and row.verdict == BROKEN):
            what = row.fault or "(ordinary)"
            print(
                f"{row.stream} {row.seed} {row.span} {what}: {row.verdict}: {row.reason[:160]}",
                file=sys.stderr,
            )
    given.out.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=0), encoding="utf-8")
    print(tables(rows))
    print(f"\n{time.monotonic() - started:.0f} s")
    ordinary = [row for row in rows if not row.fault]
    spoilt = [row for row in rows if row.fault]
    broken = sum(row.verdict == BROKEN for row in ordinary) / max(len(ordinary), 1)
    named = sum(row.named for row in spoilt) / max(len(spoilt), 1)
    return int(broken > 1 / 200 or named < 0.95)


if __name__ == "__main__":
    sys.exit(main())
