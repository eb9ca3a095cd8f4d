"""Rollouts in a model directory with its registry: what is recorded, what serves, and what a kill leaves."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from noria.core.errors import RegistryError, ServingError
from noria.pipeline.cli.app import app
from noria.serving import admin
from noria.serving.models import Models, Options
from noria.serving.prometheus import Metrics
from noria.serving.rollouts.operations import Rollouts
from noria.serving.rollouts.rollout import ABORTING, PROMOTING, Rollout
from noria.serving.rollouts.settings import RolloutSettings
from noria.serving.rollouts.traffic import Differences
from noria.stores import model_directory, model_signature
from noria.stores.publication import Publication
from noria.stores.recovery import recover, retain
from noria.stores.registry import Registry
from tests.helpers.killed import killed_at

CANARY = RolloutSettings(mode="canary")


def project(home: Path, versions: int = 3) -> Rollouts:
    """Version 1 was the champion, version 2 is; the others are registered."""
    registry, root = Registry(home), home / "models" / "m"
    for number in range(1, versions + 1):
        payload = home.parent / f"payload-{number}"
        payload.mkdir(parents=True, exist_ok=True)
        (payload / "saved_model.pb").write_text(f"model {number}")
        registry.register({"serving": payload}, run_id=f"run-{number}", parent=min(number - 1, 2) or None)
        if number <= 2:
            Publication(registry, root).publish(number)
    return Rollouts(root, home)


def signing_key(folder: Path) -> tuple[Path, list[model_signature.PublicKey]]:
    """A key that signs, and those that are trusted then."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM
    private, public = folder / "signing.pem", folder / "signing.pub"
    private.write_bytes(
        key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, encryption_algorithm=serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, [model_signature.PublicKey.read(public)]


def states(rollouts: Rollouts) -> dict[int, str]:
    assert rollouts.home is not None
    return {each.version: each.state for each in Registry(rollouts.home).versions()}


def folders(rollouts: Rollouts) -> set[str]:
    return {each.name for each in rollouts.root.iterdir()} - {".rollout"}


def events(rollouts: Rollouts) -> list[tuple[str, str, str]]:
    """(status, actor, reason) of each event of a rollout."""
    assert rollouts.home is not None
    log = Registry(rollouts.home).log
    found = [event for _, event in log.after(0) if event["kind"] == "rollout"]
    return [(each["status"], each["actor"], each["reason"]) for each in found]


def test_a_promoted_candidate_is_the_champion(tmp_path: Path) -> None:
    """The newest registered version is the candidate; its folder is renamed when it is promoted."""
    rollouts = project(tmp_path / "home")
    started = rollouts.start(None, CANARY, "anna")
    assert (3, 2) == (started.version, started.champion)
    assert {"1", "2", ".candidate-3"} == folders(rollouts)
    assert "registered" == states(rollouts)[3]
    assert "paused" == rollouts.pause("anna").status
    assert "running" == rollouts.start(None, CANARY, "anna").status
    assert "promoted" == rollouts.promote("enough seen", "anna").status
    assert {1: "retired", 2: "retired", 3: "published"} == states(rollouts)
    assert {"1", "2", "3"} == folders(rollouts)
    assert [("running", "anna", ""), ("paused", "anna", ""), ("promoted", "anna", "enough seen")] == events(
        rollouts
    )


def test_an_aborted_candidate_is_rolled_back(tmp_path: Path) -> None:
    """Its folder is withdrawn, and the registry says why; it can be rolled out again."""
    rollouts = project(tmp_path / "home")
    rollouts.start(3, CANARY, "anna")
    assert "aborted" == rollouts.abort("errors: 5 %", "guard").status
    assert "rolled_back" == states(rollouts)[3]
    assert {"1", "2", ".withdrawn-3"} == folders(rollouts)
    assert ("aborted", "guard", "errors: 5 %") == events(rollouts)[-1]
    rollouts.start(3, CANARY, "anna")
    assert {"1", "2", ".candidate-3"} == folders(rollouts)


def test_a_rollout_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    """One at a time, of a version that waits, beside a champion."""
    rollouts = project(tmp_path / "home", versions=2)
    with pytest.raises(ServingError, match="there is no candidate"):
        rollouts.start(None, CANARY, "anna")
    with pytest.raises(RegistryError, match="version 1 is retired and cannot be rolled out"):
        rollouts.start(1, CANARY, "anna")
    with pytest.raises(ServingError, match="there is no rollout"):
        rollouts.abort("", "anna")
    other = Rollouts(tmp_path / "m")
    (tmp_path / "m" / ".candidate-1").mkdir(parents=True)
    with pytest.raises(ServingError, match="there is no champion"):
        other.start(None, CANARY, "anna")
    (tmp_path / "m" / "1").mkdir()
    with pytest.raises(ServingError, match="must have a larger number than version 1"):
        other.start(None, CANARY, "anna")
    third = project(tmp_path / "third" / "home")
    third.start(None, CANARY, "anna")
    with pytest.raises(ServingError, match="the rollout of version 3 is running"):
        third.start(None, CANARY, "anna")


def test_recovery_and_retention_leave_a_candidate_alone(tmp_path: Path) -> None:
    """A version that waits for its rollout is not published by a recovery, and keeps its files."""
    rollouts = project(tmp_path / "home")
    registry = Registry(tmp_path / "home")
    Publication(registry, rollouts.root).stage(3)
    recover(registry, rollouts.root)
    assert "registered" == states(rollouts)[3]
    assert 3 == rollouts.waiting()
    newer = registry.register({"serving": tmp_path / "payload-1"}, run_id="newer", blessed=False)
    assert [] == retain(registry, 1, rollouts.root)
    assert 4 == newer.version
    assert (rollouts.root / ".candidate-3").is_dir()


def test_a_candidate_is_signed(tmp_path: Path) -> None:
    """A server that asks for signatures loads the candidate, and what it becomes under its number."""
    private, trusted = signing_key(tmp_path)
    made = project(tmp_path / "home")
    Rollouts(made.root, made.home, signing_key=private).start(3, CANARY, "anna")
    model_signature.verify(made.root / ".candidate-3", trusted)
    made.promote("it is good", "anna")  # the server has no key
    model_signature.verify(made.root / "3", trusted)


def test_what_a_server_with_the_key_promotes_is_signed_at_once(tmp_path: Path) -> None:
    """A candidate that is older than what served gets a new number, and the signature of that number."""
    private, trusted = signing_key(tmp_path)
    made = project(tmp_path / "home", versions=4)
    assert made.home is not None
    Publication(Registry(made.home), made.root, private).promote(4, "it is better", "anna")
    served = Rollouts(made.root, made.home, signing_key=private)
    served.start(3, CANARY, "anna")
    served.promote("it is good", "guard")
    assert 5 == Registry(made.home).state().served[-1]
    model_signature.verify(made.root / "5", trusted)


def test_the_newest_candidate_is_rolled_out(tmp_path: Path) -> None:
    """Of candidates that have waited for a rollout to end, the newest is next; the others remain registered."""
    rollouts = project(tmp_path / "home", versions=4)
    publication = Publication(Registry(tmp_path / "home"), rollouts.root)
    for number in (3, 4):
        publication.stage(number)
    assert 4 == rollouts.start(rollouts.waiting(), CANARY, "noria serve").version
    assert {3: "registered", 4: "registered"}.items() <= states(rollouts).items()
    assert {"1", "2", ".withdrawn-3", ".candidate-4"} == folders(rollouts)


@pytest.mark.parametrize("status", [PROMOTING, ABORTING])
def test_sigkill_at_a_step_of_an_end(tmp_path: Path, status: str) -> None:
    """A rollout whose end was decided, killed before each third step of it: the next server finishes it, once."""
    prepared = project(tmp_path / "prepared" / "home")
    prepared.start(3, CANARY, "anna")
    prepared.store.change(
        lambda each: dataclasses.replace(each, status=status, reason="why", by="guard") if each else None
    )
    kills = 0
    for n in range(1, 500, 3):
        home = tmp_path / f"killed-{n}" / "home"
        shutil.copytree(prepared.home, home)
        rollouts = Rollouts(home / "models" / "m", home)
        killed = killed_at(n, str(home), lambda rollouts=rollouts: rollouts.finish())
        kills += killed
        assert model_directory.served(rollouts.root)[-1] in (2, 3)
        rollouts.finish()
        ended = {PROMOTING: ("promoted", "published"), ABORTING: ("aborted", "rolled_back")}[status]
        assert ended == (rollouts.finish().status, states(rollouts)[3])
        assert {PROMOTING: 3, ABORTING: 2}[status] == model_directory.served(rollouts.root)[-1]
        assert 1 == [each[0] for each in events(rollouts)].count(ended[0])
        shutil.rmtree(home.parent)
        if not killed:
            break
    assert kills > 4


def test_a_fallback_is_in_the_registry(tmp_path: Path) -> None:
    """A champion that collapses is rolled back: the version before is the champion, with the reason."""
    rollouts = project(tmp_path / "home")
    rollouts.fall_back(2, 1, "its requests fail")
    assert {1: "published", 2: "rolled_back"}.items() <= states(rollouts).items()
    assert {"1", ".withdrawn-2"} == folders(rollouts)


def test_a_twin_that_takes_over_is_in_the_registry(tmp_path: Path) -> None:
    """The champion that collapsed is rolled back, and the twin serves under the next number, with the reason."""
    rollouts = project(tmp_path / "home")
    assert rollouts.home is not None
    registry = Registry(rollouts.home)
    files = registry.version(1).payload_path / "serving"
    made = registry.register({"serving": files}, run_id="t", mode="twin", twin=True)
    rollouts.fall_back(2, made.version, "its requests fail")
    assert {2: "rolled_back", 4: "retired", 5: "published"}.items() <= states(rollouts).items()
    assert 5 == model_directory.served(rollouts.root)[-1]
    event = [each for _, each in registry.log.after(0) if each["kind"] == "rolled_back"][-1]
    assert (2, 5, "its requests fail", "noria serve") == tuple(
        event[key] for key in ("version", "to", "reason", "actor")
    )


def test_a_file_is_read_by_the_next_server(tmp_path: Path) -> None:
    """The rollout is the same after it was written and read; a damaged file is named."""
    rollouts = project(tmp_path / "home")
    started = rollouts.start(3, CANARY, "anna")
    assert started == Rollouts(rollouts.root).store.read()
    assert isinstance(started, Rollout)
    rollouts.store.path.write_text("{")
    with pytest.raises(ServingError, match="cannot be read"):
        rollouts.store.read()


def test_the_command_line_does_the_same(tmp_path: Path) -> None:
    """start, status, pause, promote of a folder; each prints the rollout, and a refusal says what to do."""
    root = tmp_path / "m"
    for name in ("1", ".candidate-2"):
        (root / name).mkdir(parents=True)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["rollout", *words, "--folder", str(root)])

    assert 1 == run("abort").exit_code
    started = json.loads(run("start", "--mode", "ab", "--share", "0.2", "--json").stdout)
    assert (2, 1, "ab", "running", 0.2) == tuple(
        started[key] for key in ("version", "champion", "mode", "status", "share")
    )
    assert "paused" in run("pause").stdout
    assert "version 2 beside 1: ab, paused, 20% of the keys" in run("status").stdout
    assert "promoted" == json.loads(run("promote", "--reason", "it is good", "--json").stdout)["status"]
    assert {"1", "2"} == {path.name for path in root.iterdir()} - {".rollout"}


def test_a_home_in_an_object_store_has_no_rollouts(tmp_path: Path) -> None:
    """The command line refuses it before anything asks the object store, and says what divides the traffic."""
    file = tmp_path / "noria.yaml"
    file.write_text("name: rides\nlabel: big_tip\nspan: rows:100\nhome: s3://bucket/home\n")
    done = CliRunner().invoke(app, ["rollout", "start", "--config", str(file)])
    assert 1 == done.exit_code
    assert "noria serving-manifests" in done.stderr


def test_a_fallback_of_a_copy_is_the_home_s(tmp_path: Path) -> None:
    """A server reads a copy of an object store; the version that collapsed leaves the home, and the copy follows."""
    home = tmp_path / "home"
    published = home / "models" / "rides"
    models = Models(Options(home=home, published=published), Metrics())
    copied = SimpleNamespace(base_path=str(home / ".home" / "served" / "rides"))
    assert (published, home) == (
        models._rollouts(copied, published).root,
        models._rollouts(copied, published).home,
    )
    assert models._rollouts(copied).home is None


def test_the_status_of_a_project_has_its_rollout(tmp_path: Path) -> None:
    """`noria status` names candidate, champion, state and share; its JSON has what `noria rollout status` prints."""
    (tmp_path / "noria.yaml").write_text("name: m\nlabel: late\nspan: rows:10\nhome: home\n")
    made = project(tmp_path / "home")

    def status(*words: str) -> str:
        return CliRunner().invoke(app, [*words, "--config", str(tmp_path / "noria.yaml")]).stdout

    assert json.loads(status("status", "--json"))["rollout"] is None
    made.start(3, CANARY, "anna")
    assert "version 3 beside 2: canary, running, step 1 of 4, 1% of the keys" in status("status")
    assert (
        json.loads(status("rollout", "status", "--json")) == json.loads(status("status", "--json"))["rollout"]
    )


def test_a_state_is_told_once_whoever_made_it(tmp_path: Path) -> None:
    """The audit log of a server has what the command line did to a rollout, and its own steps once."""
    told: list[tuple[str, str]] = []
    made = project(tmp_path / "home")
    served = Rollouts(made.root, made.home, lambda event: told.append((event["status"], event["actor"])))
    served.tell(made.start(3, CANARY, "anna"))
    paused = made.pause("bert")
    served.tell(paused)
    served.record(paused)
    served.abort("support has complaints", "carla")
    assert [("running", "anna"), ("paused", "bert"), ("aborted", "carla")] == told


def test_only_this_machine_may_use_the_admin_api() -> None:
    """A client of another machine is refused, and one whose address is not known."""
    assert admin.allowed({"client": ("127.0.0.1", 5000)})
    assert not admin.allowed({"client": ("10.0.0.7", 5000)})
    assert not admin.allowed({"client": None})


def test_differences_are_kept_by_size() -> None:
    """The largest 20 differences are kept with their requests, errors first."""
    differences = Differences()
    for each in range(30):
        differences._keep({"request": str(each), "difference": each})
    differences.failed("x", "it fails")
    assert ["x", "29", "28"] == [each["request"] for each in differences.largest[:3]]
    assert 20 == len(differences.largest)
    assert vars(differences) == vars(Differences(differences.to_json()))
