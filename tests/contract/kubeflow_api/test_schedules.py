"""`noria schedule` against a server that speaks the published contract."""

import json

import pytest

from noria.pipeline.runners.kubeflow import kfp_client

from .noria import Noria
from .server import Fault, KubeflowApi


def create(noria: Noria, *arguments: str) -> dict:
    return noria.json("schedule", "create", *arguments, "--package", str(noria.package))


def test_create(noria: Noria, api: KubeflowApi) -> None:
    """One run at a time and no catch-up, unless asked; five cron fields get their second."""
    made = create(noria, "--cron", "30 6 * * 1-5")
    assert ("cron 0 30 6 * * 1-5", 1, False, True) == (
        made["schedule"]["trigger"],
        made["schedule"]["max_concurrency"],
        made["schedule"]["catch_up"],
        made["schedule"]["enabled"],
    )
    asked = api.recurring[0]
    assert ("rides", True, "1", "ENABLE") == (
        asked["display_name"],
        asked["no_catchup"],
        asked["max_concurrency"],
        asked["mode"],
    )
    assert api.versions[-1]["pipeline_version_id"] == made["schedule"]["version_id"]
    other = create(noria, "hourly", "--every", "1h30m", "--max-concurrency", "3", "--catch-up")
    assert {"periodic_schedule": {"interval_second": "5400"}} == api.recurring[1]["trigger"]
    assert (3, True) == (other["schedule"]["max_concurrency"], other["schedule"]["catch_up"])


def test_service_account(noria: Noria, api: KubeflowApi) -> None:
    """The runs' service account goes with the schedule, as with a run."""
    create(noria, "--every", "1h", "--service-account", "noria-runner")
    assert "noria-runner" == api.recurring[0]["service_account"]


@pytest.mark.parametrize("name", ["rides [v2]", "rides [/x]"])
def test_names_are_no_markup(noria: Noria, api: KubeflowApi, name: str) -> None:
    """A name with brackets is shown unchanged, and causes no error."""
    create(noria, name, "--every", "1h")
    assert name in noria("schedule", "list").stdout
    assert name in noria("schedule", "pause", name).stdout


def test_a_name_is_given_once(noria: Noria, api: KubeflowApi) -> None:
    """Kubeflow lets names repeat; Noria refuses, or replaces with --replace, the new one first."""
    create(noria, "nightly", "--every", "1d")
    before = api.recurring[0]["recurring_run_id"]
    package = ("--package", str(noria.package))
    said = noria.refused("schedule", "create", "nightly", "--every", "1h", *package)
    assert "--replace" in said
    made = create(noria, "nightly", "--every", "1h", "--replace")
    assert [before] == made["replaced"]
    assert [made["schedule"]["id"]] == [each["recurring_run_id"] for each in api.recurring]
    assert api.calls.index("delete_recurring_run") > api.calls.index("create_recurring_run")


def test_replaced_as_it_was(noria: Noria, api: KubeflowApi) -> None:
    """--replace resumes no paused schedule, and keeps the settings that are not given again."""
    create(noria, "nightly", "--every", "1d", "--max-concurrency", "3", "--catch-up")
    noria("schedule", "pause", "nightly")
    again = ("schedule", "create", "nightly", "--every", "1h", "--replace", "--package", str(noria.package))
    said = noria(*again).stderr
    assert "paused" in said and "noria schedule resume --config" in said
    (there,) = api.recurring
    assert ("DISABLE", "3", False) == (there["mode"], there["max_concurrency"], there["no_catchup"])
    assert "enable_recurring_run" not in api.calls  # never on, not even for a moment
    noria("schedule", "resume", "nightly")
    made = noria.json(*again, "--max-concurrency", "1", "--no-catch-up")["schedule"]
    assert (True, 1, False) == (made["enabled"], made["max_concurrency"], made["catch_up"])


@pytest.mark.parametrize(
    ("every", "when", "slow"),
    [
        ("hour", ("--every", "2h"), True),
        ("hour", ("--every", "1h"), False),
        ("day", ("--cron", "0 6 * * mon-fri"), True),
        ("day", ("--cron", "0 6 * * *"), False),
        ("week", ("--cron", "@monthly"), True),
        ("15m", ("--every", "1h"), True),
        ("15m", ("--every", "15m"), False),
        ("rows:100", ("--every", "365d"), False),
    ],
)
def test_slower_than_the_spans(noria: Noria, every: str, when: tuple[str, ...], slow: bool) -> None:
    """A schedule that always falls behind is still created, with a warning on standard error."""
    file = noria.folder / "noria.yaml"
    file.write_text(file.read_text().replace("rows:100", every) + "time: at\n")
    done = noria("schedule", "create", *when, "--package", str(noria.package), "--json")
    assert slow == ("falls behind" in done.stderr)
    assert json.loads(done.stdout)["schedule"]["enabled"]


def test_pause_resume_delete(noria: Noria, api: KubeflowApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verb acts on the schedule of that name or id, found on any page, and on no other."""
    monkeypatch.setattr(kfp_client, "PAGE", 2)
    names = ("one", "two", "three")
    ids = [create(noria, name, "--every", "1h")["schedule"]["id"] for name in names]

    def states() -> dict[str, bool]:
        return {each["name"]: each["enabled"] for each in noria.json("schedule", "list")["schedules"]}

    noria("schedule", "pause", "one")
    noria("schedule", "pause", ids[1])
    assert {"one": False, "two": False, "three": True} == states()
    assert "paused" in noria("schedule", "list").stdout
    assert noria.json("schedule", "resume", "one")["schedule"]["enabled"]
    assert {"one": True, "two": False, "three": True} == states()
    assert "deleted" in noria("schedule", "delete", "two").stdout
    assert {"one": True, "three": True} == states()


def test_gone_is_deleted(noria: Noria, api: KubeflowApi) -> None:
    """Deleting what somebody else, or our own first try, has deleted meanwhile is done, not refused."""
    create(noria, "--every", "1h")
    api.faults = [Fault("delete_recurring_run", "drop"), Fault("delete_recurring_run", 404)]
    noria("schedule", "delete", "rides")


def test_no_such_schedule(noria: Noria, api: KubeflowApi) -> None:
    """A name that is not there names the near one; a name that two share asks for the id."""
    assert "no schedule" in noria("schedule", "list").stdout
    create(noria, "nightly", "--every", "1d")
    assert "did you mean 'nightly'?" in noria.refused("schedule", "pause", "nightli")
    api.recurring.append({**api.recurring[0], "recurring_run_id": "other"})
    assert "other" in noria.refused("schedule", "delete", "nightly")
    assert 2 == len(api.recurring)


@pytest.mark.parametrize(
    "when",
    [
        (),
        ("--cron", "0 6 * * *", "--every", "1h"),
        ("--cron", "6 o'clock"),
        ("--cron", "61 * * * *"),
        ("--every", "1 fortnight"),
    ],
    ids=["neither", "both", "cron", "range", "interval"],
)
def test_when_makes_no_sense(noria: Noria, api: KubeflowApi, when: tuple[str, ...]) -> None:
    """Neither times nor interval, both, or one that cannot be read: refused before any request."""
    noria.refused("schedule", "create", *when)
    assert [] == api.calls


def test_the_server_refuses_a_cron(noria: Noria, api: KubeflowApi) -> None:
    """An error that only the server can find (400) has the server's text."""
    api.faults = [Fault("create_recurring_run", 400, said="Schedule cron is not a supported format")]
    said = noria.refused("schedule", "create", "--cron", "0 0 0 30 2 *", "--package", str(noria.package))
    assert "not a supported format" in said
