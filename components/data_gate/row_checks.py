"""Faults of whole rows and of a part of them: duplicates, hours, leaks, one source of many."""

import math
from collections.abc import Collection
from typing import TypeAlias

import numpy as np
from scipy import special
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components import gate_statistics, row_statistics
from noria.components.data_gate import binning, significance
from noria.components.data_gate.column_checks import COMMON
from noria.components.data_gate.significance import Test

FeatureStatistics: TypeAlias = statistics_pb2.FeatureNameStatistics
Features = dict[str, FeatureStatistics]
# Rise of the share of copies, and that above which it is a fault beyond doubt.
COPIES, MANY_COPIES = 0.1, 0.3
# A table in which more rows than this are copies anyway has too few columns to tell.
USUAL_COPIES = 0.05
# Share of the rows whose hour of the day is explained by a shift, and not without.
HOURS = 0.2
# Rise of a feature's correlation with the label, and the correlation from which it stops the pipeline: below, the world
# may have changed.
LEAK, NEARLY_THE_LABEL = 0.5, 0.9
# Share of the rows in which one source of many may fail before the span is broken.
PART = 0.3
# Rows of a category below which it says nothing.
ROWS = 20
# Share of damaged texts: drifted, broken.
DAMAGED, MOSTLY_DAMAGED = 0.001, 0.05


def check_duplicates(current: Features, references: dict[str, Features]) -> list[Test]:
    """Looks for rows that are there several times: in all columns (a delivery twice), or in half of them (a join).

    A join that multiplies rows changes the columns that it adds; one half of the columns, at least, has copies then.
    """
    mine = _sketches(current)
    if mine is None:
        return []
    names: tuple[str, ...] = ("all columns: the data may have been delivered twice",)
    names += ("half of the columns: a join may have multiplied them",) * 2
    by_reference = []
    for features in references.values():
        theirs = _sketches(features)
        tests = []
        for index, (now, before) in enumerate(zip(mine, theirs or [], strict=False)):
            usual = 1 - before[1] / max(before[0], 1)
            if usual > USUAL_COPIES:
                continue
            copies = now[0] - now[1]
            share = copies / max(now[0], 1)
            text = f"{share:.0%} of the rows are copies, {usual:.1%} before, in {names[index]}"
            p = significance.above(copies, now[0], max(2 * usual, 0.01))
            tests.append(
                Test(
                    "duplicates",
                    "",
                    text,
                    now[0],
                    p,
                    share - usual,
                    drifted=COPIES,
                    broken=MANY_COPIES,
                    part=str(index),
                )
            )
        by_reference.append(tests)
    found = significance.against_all(by_reference)
    whole = [test for test in found if test.part == "0" and test.effect > COPIES]
    return whole or found  # copies of all columns are copies of half of them


def check_hours(current: Features, references: dict[str, Features], time: str) -> list[Test]:
    """Looks for a distribution over the hours of the day that is that of before some hours later or earlier.

    One hour is summer time: `drifted`. More is a time zone: `broken`. A span that covers one day and a half has more
    rows in some hours, so what a part of a day can explain is added to the thresholds.
    """
    mine = _hours(current, time)
    by_reference = []
    for title, features in references.items():
        theirs = _hours(features, time)
        if mine is None or theirs is None:
            continue
        p, q = mine / mine.sum(), theirs / theirs.sum()
        distances = [float(np.abs(p - np.roll(q, lag)).sum()) / 2 for lag in range(24)]
        lag = int(np.argmin(distances))
        gain = distances[0] - distances[lag]
        hours = lag if lag <= 12 else lag - 24
        sharp = distances[lag] < distances[0] / 2
        part = _part_of_a_day(current[time]) + _part_of_a_day(features[time])
        by_reference.append(
            [
                Test(
                    "time",
                    time,
                    f"the hours of the day are those of {title} {hours:+d} h: the time zone may have changed",
                    int(mine.sum()),
                    significance.same_distribution(mine.tolist(), theirs.tolist()),
                    gain if sharp else 0.0,
                    drifted=HOURS / 2 + part,
                    broken=HOURS + part if abs(hours) > 1 else None,
                    part="hours",
                )
            ]
        )
    return significance.against_all(by_reference)


def check_leak(
    current: Features, references: dict[str, Features], label: str, ignore: Collection[str] = ()
) -> list[Test]:
    """Looks for a number that follows the label much more closely than before: it may be known only afterwards."""
    mine = gate_statistics.text_of(current[label], gate_statistics.LABEL) if label in current else {}
    by_reference = []
    for title, features in references.items():
        theirs = gate_statistics.text_of(features[label], gate_statistics.LABEL) if label in features else {}
        tests = []
        for name, now in mine.get("correlation", {}).items():
            before = theirs.get("correlation", {}).get(name)
            # Rows with both values; statistics of an older release do not count them.
            pairs, before_pairs = (side.get("pairs", {}).get(name, side["rows"]) for side in (mine, theirs))
            if before is None or name in ignore or min(pairs, before_pairs) < ROWS:
                continue
            distance = math.atanh(min(abs(now), 0.9999)) - math.atanh(min(abs(before), 0.9999))
            error = math.sqrt(1 / (pairs - 3) + 1 / (before_pairs - 3))
            tests.append(
                Test(
                    "leak",
                    name,
                    f"{name} correlates with the label by {now:+.2f}, {before:+.2f} in {title}: it may be known "
                    "only after the label",
                    pairs,
                    significance.z_test(distance / error),
                    abs(now) - abs(before),
                    drifted=LEAK / 2,
                    broken=LEAK if abs(now) >= NEARLY_THE_LABEL else None,
                )
            )
        by_reference.append(tests)
    return significance.against_all(by_reference)


def check_parts(current: Features, references: dict[str, Features]) -> list[Test]:
    """Looks for one value of a category (a sensor, a shop) whose rows, or whose numbers, are missing or stuck.

    Where it concerns less than 30 % of the rows the span has `drifted`: the others' rows are good.
    """
    rows = max(
        (int(_common(one).num_non_missing + _common(one).num_missing) for one in current.values()), default=0
    )
    common = {
        name for features in references.values() for name, one in features.items() if _point(one) >= COMMON
    }
    by_reference = []
    for title, features in references.items():
        before_rows = max(
            (int(_common(one).num_non_missing + _common(one).num_missing) for one in features.values()),
            default=0,
        )
        tests: list[Test] = []
        for name in current.keys() & features.keys():
            mine = gate_statistics.text_of(current[name], row_statistics.NUMBERS_BY_VALUE)
            theirs = gate_statistics.text_of(features[name], row_statistics.NUMBERS_BY_VALUE)
            for value, before in theirs.items() if mine else ():
                now = mine.get(value, {"rows": 0, "numbers": {}})
                where = f"{name}={value}"
                expected = rows * before["rows"] / max(before_rows, 1)
                tests.append(_gone(name, where, now["rows"], expected, rows, title))
                if min(now["rows"], before["rows"]) >= ROWS:
                    tests += _numbers(where, now, before, rows, common, title)
        by_reference.append(tests)
    return significance.against_all(by_reference)


def _gone(name: str, where: str, now: int, expected: float, rows: int, title: str) -> Test:
    lost = expected >= ROWS and now < 0.2 * expected
    return Test(
        "part",
        name,
        f"{where} has {now:,} rows, about {expected:,.0f} by {title}: it no longer delivers",
        rows,
        float(special.pdtr(now, expected)),
        1 - now / expected if lost else 0.0,
        drifted=0.5,
        part=where,
    )


def _numbers(where: str, now: dict, before: dict, rows: int, common: set[str], title: str) -> list[Test]:
    tests = []
    for number, (count, mean, spread, _) in now["numbers"].items():
        old_count, _, old_spread, most = before["numbers"].get(number, (0, 0.0, 0.0, 1.0))
        share, old_share = count / now["rows"], old_count / before["rows"]
        affected = now["rows"] / max(rows, 1)
        empty = old_share > 0.5 and share < 0.2 * old_share
        tests.append(
            Test(
                "part",
                number,
                f"{number} is missing in {1 - share:.0%} of the rows of {where}, {1 - old_share:.0%} in {title}",
                now["rows"],
                significance.above(now["rows"] - count, now["rows"], min(1 - old_share + 0.01, 1.0)),
                affected if empty else 0.0,
                drifted=0.001,
                broken=PART,
                part=f"{where} missing",
            )
        )
        # A number that had few values here, such as a distance by destination, may have one value only.
        varied = old_spread > 0 and most < COMMON and number not in common
        # A sensor that is stuck delivers as often as before; a few values that are left may well be of one hour.
        stuck = count >= ROWS and spread == 0 and varied and share > old_share / 2
        tests.append(
            Test(
                "stuck",
                number,
                f"{number} is {mean:.6g} in all rows of {where} that have it, and varied in {title}: it is stuck",
                count,
                # No value has more than a quarter of the rows.
                COMMON ** max(count - 1, 0),
                affected if stuck else 0.0,
                drifted=0.001,
                broken=PART,
                part=where,
            )
        )
    return tests


def check_encoding(
    current: Features, references: dict[str, Features], schema: schema_pb2.Schema
) -> list[Test]:
    """Looks for texts that are known ones, written in one encoding and read in another."""
    domains = {domain.name: set(domain.value) for domain in schema.string_domain}
    asked = {
        one.name: set(one.string_domain.value) or domains.get(one.domain, set()) for one in schema.feature
    }
    tests = []
    for name, feature in current.items():
        if feature.WhichOneof("stats") != "string_stats":
            continue
        known = set(asked.get(name, ()))
        for features in references.values():
            if name in features and features[name].WhichOneof("stats") == "string_stats":
                known |= binning.counts(features[name]).keys()
        forms = {form for value in known if not value.isascii() for form in _misread(value)} - known
        if not forms:
            continue
        mine = binning.counts(feature)
        damaged = {value: count for value, count in mine.items() if value in forms}
        rows, bad = int(sum(mine.values())), int(sum(damaged.values()))
        example = f", such as {next(iter(damaged))!r}" if damaged else ""
        tests.append(
            Test(
                "encoding",
                name,
                f"{bad / max(rows, 1):.1%} of the texts of {name} are read in a wrong encoding{example}",
                rows,
                significance.above(bad, rows, DAMAGED) if bad else 1.0,
                bad / max(rows, 1),
                drifted=DAMAGED,
                broken=MOSTLY_DAMAGED,
            )
        )
    return tests


def _misread(value: str) -> set[str]:
    forms = {value.encode("utf-8").decode(name, "ignore") for name in ("latin-1", "cp1252")}
    for name in ("latin-1", "ascii"):
        forms.add(value.encode(name, "replace").decode("utf-8", "replace"))
    forms.add(value.encode("ascii", "ignore").decode())
    forms.add("".join(one if one.isascii() else "\ufffd" for one in value))
    return forms


def _sketches(features: Features) -> list[list[int]] | None:
    for feature in features.values():
        duplicates = gate_statistics.text_of(feature, row_statistics.DUPLICATES)
        if duplicates:
            return duplicates["sketches"]
    return None


def _hours(features: Features, time: str) -> np.ndarray | None:
    """Rows by hour; None where a day is not covered, or is nearly flat, or too few."""
    if time not in features:
        return None
    counts = gate_statistics.text_of(features[time], row_statistics.HOURS)
    hours = np.array(counts.get("rows", np.zeros(24)), float)
    enough = hours.sum() >= 10 * 24 and (hours > 0).sum() >= 12  # half a day at least
    return hours if enough and hours.std() > 0.2 * hours.mean() else None


def _part_of_a_day(time: FeatureStatistics) -> float:
    """How far a range of times that is not whole days can move the shares of the hours: total variation distance.

    With a part `m` of one day's rows beyond whole days it is m (1 - m) / days, which is at most 0.25 / days.
    """
    days = (time.num_stats.max - time.num_stats.min) / 86_400
    beyond = days % 1
    return min(beyond, 1 - beyond, 0.25) / max(days, 1 / 24)


def _point(feature: FeatureStatistics) -> float:
    if feature.WhichOneof("stats") != "num_stats" or not feature.num_stats.common_stats.num_non_missing:
        return 0.0
    return binning.buckets(feature).point_share()[1]


def _common(feature: FeatureStatistics) -> statistics_pb2.CommonStatistics:
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats if kind else statistics_pb2.CommonStatistics()
