"""Evidently's defaults on the spans of `benchmarks.gate_rates`: how often it reports drift, and which faults it sees.

    python -m benchmarks.evidently_rates [--seeds 101] [--spans 20]

Runs in a separate environment, as Evidently does not fit TFX's packages: `pip install evidently pyarrow`, with the
repository in PYTHONPATH. Each span is compared with the span before by `DataDriftPreset`, which looks for drift only.
A column counts if its own test finds drift; the data set counts if half of the columns do. The spans with faults are
those of `gate_rates`.
"""

import argparse
import collections
import warnings
from collections.abc import Sequence

import pyarrow as pa

from benchmarks.gate_faults import FAULTS
from benchmarks.gate_streams import STREAMS

DRAFT = 4  # spans that `gate_rates` does not judge


def drifted(before: pa.Table, now: pa.Table) -> tuple[set[str], bool]:
    """The columns that Evidently takes as drifted, and whether the data set is."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    sides = [
        Dataset.from_pandas(
            table.drop_columns(["t"] if "t" in table.column_names else []).to_pandas(), DataDefinition()
        )
        for table in (now, before)
    ]
    columns, whole = set(), False
    try:
        found = Report([DataDriftPreset()]).run(*sides).dict()
    except ValueError as error:  # it refuses an empty column, and names it
        return {name for name in now.column_names if f"'{name}'" in str(error)}, True
    for metric in found["metrics"]:
        config = metric.get("config", {})
        if "column" in config:
            value, threshold = float(metric["value"]), float(config["threshold"])
            distance = "p_value" not in str(config["method"])
            if (value > threshold) if distance else (value < threshold):
                columns.add(config["column"])
        elif "share" in (metric["value"] if isinstance(metric["value"], dict) else {}):
            whole = metric["value"]["share"] >= 0.5
    return columns, whole


def main(argv: Sequence[str] | None = None) -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="101")
    parser.add_argument("--spans", type=int, default=40)
    parser.add_argument("--fault-spans", default="16,29", help="as in `gate_rates`")
    given = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    ordinary: dict[str, list[tuple[int, bool]]] = collections.defaultdict(list)
    faults: dict[str, list[tuple[bool, bool]]] = collections.defaultdict(list)
    for seed in map(int, given.seeds.split(",")):
        for stream in STREAMS:
            before = stream.span(seed, DRAFT - 1)
            for number in range(DRAFT, DRAFT + given.spans):
                table = stream.span(seed, number)
                columns, whole = drifted(before, table)
                ordinary[stream.name].append((len(columns), whole))
                if number in map(int, given.fault_spans.split(",")):
                    for fault in FAULTS:
                        spoilt = fault.inject(table, before, stream)
                        if spoilt is None:
                            continue
                        named, _ = drifted(before, spoilt)
                        column = getattr(stream, fault.column, "")
                        faults[fault.name].append((bool(named), column in named if column else bool(named)))
                before = table
            print(stream.name, seed, ordinary[stream.name][-given.spans :], flush=True)
    print("| stream | spans | a column drifts | the data set drifts |\n| --- | --- | --- | --- |")
    every = [one for rows in ordinary.values() for one in rows]
    for name, rows in [*ordinary.items(), ("all", every)]:
        print(f"| {name} | {len(rows)} | {sum(n > 0 for n, _ in rows)} | {sum(whole for _, whole in rows)} |")
    print("\n| fault | injected | a column drifts | the right one |\n| --- | --- | --- | --- |")
    all_faults = [one for rows in faults.values() for one in rows]
    for name, rows in [*faults.items(), ("all", all_faults)]:
        print(
            f"| {name} | {len(rows)} | {sum(any_ for any_, _ in rows)} | {sum(right for _, right in rows)} |"
        )


if __name__ == "__main__":
    main()
