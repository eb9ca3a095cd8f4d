"""Cron expressions: refused here where Kubeflow's scheduler would refuse them later, or read something else."""

import pytest

from noria.core.errors import ConfigError
from noria.pipeline.cli.schedule import six_fields
from noria.pipeline.runners.kubeflow import cron as cron_fields


@pytest.mark.parametrize(
    "cron",
    [
        "*/15 * * * *",
        "0 6,18 1-15/2 JAN-jun mon-fri",
        "0 0 ? * 0",
        "59 59 23 31 12 6",
        "5/10 * * * *",
        "?/5 * * * *",
    ],
)
def test_taken(cron: str) -> None:
    """Ranges, lists, steps and names of months and days, each within its field's range."""
    assert cron in six_fields(cron)


@pytest.mark.parametrize(
    ("cron", "field"),
    [
        ("a b c d e", "minute"),
        ("99 99 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day of the month"),
        ("0 0 1 13 *", "month"),
        ("0 0 1 1 7", "day of the week"),
        ("60 0 0 1 1 *", "second"),
        ("10-5 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("1,, * * * *", "minute"),
        ("0 0 * mon *", "month"),
        ("0 0 L * *", "day of the month"),
        ("R * * * *", "minute"),
    ],
)
def test_refused(cron: str, field: str) -> None:
    """A value out of a field's range is refused, with the field and its range."""
    with pytest.raises(ConfigError, match=f"the {field} must be"):
        six_fields(cron)


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 6 * * *", 1),
        ("0 6,18 * * *", 1 / 2),
        ("30 * * * *", 1 / 24),
        ("5/10 * * * *", 1 / 144),
        ("0 0 ? * 0", 7),
        ("0 6 * * mon-fri", 7 / 5),
        ("0 6 1 * *", 31),
        ("0 6 1-15,16-31 * 1", 1),
        ("*/30 0 6 * * *", 1 / 2),
        ("@hourly", 1 / 24),
        ("@weekly", 7),
    ],
)
def test_seconds_between(cron: str, days: float) -> None:
    """How often it runs, on average."""
    assert days * 86400 == pytest.approx(cron_fields.seconds_between(six_fields(cron)), rel=0.002)
