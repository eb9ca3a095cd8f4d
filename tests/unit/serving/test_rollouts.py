"""Rollouts of a real server: a candidate beside the champion, judged on the answers of both."""

import contextlib
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

# What half_plus_two and half_plus_three answer to 2.0.
TWO, THREE = 3.0, 4.0
ADMIN = "/admin/rollouts/m"
CANARY = {"mode": "canary", "steps": [0.3, 0.6, 1.0], "step_requests": 40, "step_seconds": 0}


@pytest.fixture(scope="module")
def root(small_models, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("served") / "m"
    root.mkdir()
    shutil.copytree(small_models / "half_plus_two" / "00000123", root / "1")
    return root


@pytest.fixture(scope="module")
def server(root, serving):
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serving(str(root), "--fallback"))

        def kill_and_start() -> None:
            running.process.kill()
            running.process.wait()
            vars(running).update(vars(stack.enter_context(serving(str(root), "--fallback"))))

        running.kill_and_start = kill_and_start
        yield running


def candidate(root: Path, version: int, model: Path) -> None:
    """As the publication does it: written under another name, renamed."""
    beside = root / f".staging-{version}"
    shutil.copytree(model, beside)
    beside.rename(root / f".candidate-{version}")


def ask(server, key: str = "") -> float:
    """The answer to 2.0; each request must have one."""
    headers = {"x_rollout_key": key} if key else {}
    status, answer = server.ask("/v1/models/m:predict", {"instances": [2.0]}, **headers)
    assert 200 == status, answer
    return answer["predictions"][0]


def rollout(server) -> dict:
    return server.ask(ADMIN)[1]


def begin(server, version: int, **settings: object) -> None:
    """Starts a rollout, and waits until its candidate has loaded."""
    status, answer = server.ask(f"{ADMIN}:start", {"version": version, **settings})
    assert 200 == status, answer
    server.wait(lambda: states(server).get(version) == "AVAILABLE")


def states(server) -> dict[int, str]:
    _, answer = server.ask("/v1/models/m")
    return {int(each["version"]): each["state"] for each in answer["model_version_status"]}


def test_the_admin_api_says_what_is_wrong(server) -> None:
    """An unknown model, verb, key or candidate, and a rollout that is not there."""
    assert (200, {}) == server.ask(ADMIN)
    assert 404 == server.ask("/admin/rollouts/other")[0]
    assert 400 == server.ask(f"{ADMIN}:stop", {})[0]
    assert (409, {"error": "there is no rollout"}) == server.ask(f"{ADMIN}:abort", {})
    status, answer = server.ask(f"{ADMIN}:start", {"mode": "canary", "stepz": [1]})
    assert (400, "unknown key 'stepz'") == (status, answer["error"])
    status, answer = server.ask(f"{ADMIN}:start", {"mode": "canary", "version": 9})
    assert (409, "there is no candidate 9; candidates: none") == (status, answer["error"])


def test_a_shadow_answers_nobody(server, root, small_models) -> None:
    """Each request gets the champion's answer; the differences to the candidate's are recorded."""
    candidate(root, 2, small_models / "half_plus_three" / "00000124")
    begin(server, 2, mode="shadow", share=1.0)

    def seen() -> bool:
        assert TWO == ask(server)
        shadow = rollout(server)["differences"]
        return bool(shadow) and shadow["compared"] >= 20

    server.wait(seen)
    shadow = rollout(server)["differences"]
    assert shadow["compared"] == shadow["different"] == shadow["total"]  # each by 1.0
    assert 1.0 == shadow["largest"][0]["difference"]
    assert 200 == server.ask(f"{ADMIN}:abort", {"reason": "seen enough"})[0]
    assert "aborted" == rollout(server)["status"]
    assert (root / ".withdrawn-2").is_dir()
    server.wait(lambda: states(server)[2] == "END")


def test_a_canary_whose_scores_shift_is_rolled_back(server, root, small_models) -> None:
    """A key stays with its version until the guard breaches; then all traffic is the champion's, without an error."""
    candidate(root, 3, small_models / "half_plus_three" / "00000124")
    begin(server, 3, **CANARY | {"step_requests": 10_000})
    server.wait(lambda: THREE in {ask(server, f"user-{each}") for each in range(20)})
    first = {each: ask(server, f"user-{each}") for each in range(20)}
    assert first == {each: ask(server, f"user-{each}") for each in range(20)}
    assert {TWO, THREE} == set(first.values())

    def aborted() -> bool:
        for each in range(50):
            assert ask(server, f"user-{each}") in (TWO, THREE)
        return rollout(server)["status"] == "aborted"

    server.wait(aborted)
    found = rollout(server)
    assert found["reason"].startswith("scores: ")
    assert "guard" == found["by"]
    assert {TWO} == {ask(server, f"user-{each}") for each in range(20)}
    assert (root / ".withdrawn-3").is_dir()
    _, page = server.ask("/monitoring/prometheus/metrics")
    assert 'noria_serving_rollbacks_total{model="m",cause="scores"} 1' in page


def test_a_healthy_canary_becomes_the_champion(server, root, small_models) -> None:
    """Step by step; a server that is killed meanwhile continues at its step, and knows whose label comes late.

    The champion before is the fallback.
    """
    candidate(root, 4, small_models / "half_plus_two" / "00000123")
    begin(server, 4, **CANARY, guards={"latency": None})  # both share two cores
    server.wait(lambda: bool(ask(server)) and rollout(server)["step"] == 2)
    assert 200 == server.ask(f"{ADMIN}:pause", {})[0]
    server.ask("/v1/models/m:predict", {"instances": [2.0]}, x_request_id="late")
    server.wait(lambda: any(b'"late"' in each.read_bytes() for each in root.glob(".rollout/answers*")))
    server.kill_and_start()
    server.wait(lambda: states(server).get(4) == "AVAILABLE")
    labels = {"labels": [{"request_id": each, "label": 1} for each in ("late", "never")]}
    assert (200, {"known": 1, "unknown": 1}) == server.ask(f"{ADMIN}:labels", labels)
    found = rollout(server)
    assert ("paused", 2) == (found["status"], found["step"])
    assert found["requests"]["candidate"] >= 40
    assert 200 == server.ask(f"{ADMIN}:start", {})[0]
    server.wait(lambda: bool(ask(server)) and rollout(server)["status"] == "promoted")
    server.wait(lambda: states(server) | {4: "AVAILABLE", 1: "AVAILABLE"} == states(server))
    assert (root / "4").is_dir()


def test_the_fallback_answers_where_the_champion_fails(server, root, small_models) -> None:
    """No client sees a champion that fails in all requests; after six the version before is the champion again."""
    shutil.copytree(small_models / "failing" / "1", root / ".staging-5")
    (root / ".staging-5").rename(root / "5")
    server.wait(lambda: states(server).get(5) == "AVAILABLE")
    assert {TWO} == {ask(server) for _ in range(10)}
    server.wait(lambda: (root / ".withdrawn-5").is_dir() and states(server)[5] == "END")
    _, page = server.ask("/monitoring/prometheus/metrics")
    assert 'noria_serving_rollbacks_total{model="m",cause="collapse"} 1' in page
    assert 'noria_serving_fallback_answers_total{model="m"} 6' in page


def test_the_fallback_takes_over_where_labels_contradict_the_champion(server, root, small_models) -> None:
    """Scores of 0.9 whose label is 0, and of 0.1 whose label is 1: after a dozen the version before serves."""
    shutil.copytree(small_models / "half_plus_two" / "00000123", root / ".staging-6")
    (root / ".staging-6").rename(root / "6")
    server.wait(lambda: states(server).get(6) == "AVAILABLE")
    labels = []
    for each in range(14):
        body = {"instances": [-2.2 if each % 2 else -3.8]}
        assert 200 == server.ask("/v1/models/m:predict", body, x_request_id=f"labelled-{each}")[0]
        labels.append({"request_id": f"labelled-{each}", "label": (each + 1) % 2})
    assert (200, {"known": 14, "unknown": 0}) == server.ask(f"{ADMIN}:labels", {"labels": labels})
    server.wait(lambda: (root / ".withdrawn-6").is_dir() and states(server)[6] == "END")
    assert TWO == ask(server)
    _, page = server.ask("/monitoring/prometheus/metrics")
    assert 'noria_serving_rollbacks_total{model="m",cause="collapse"} 2' in page


def test_labels_outlive_a_kill(server, root, small_models) -> None:
    """The server is killed between the labels, and again with damaged evidence: they count together, or not at all.

    No rollout is under way. The answers are those of before the first kill.
    """
    shutil.copytree(small_models / "half_plus_two" / "00000123", root / ".staging-7")
    (root / ".staging-7").rename(root / "7")
    server.wait(lambda: states(server).get(7) == "AVAILABLE")
    labels = []
    for each in range(24):
        body = {"instances": [-2.2 if each % 2 else -3.8]}
        assert 200 == server.ask("/v1/models/m:predict", body, x_request_id=f"kept-{each}")[0]
        labels.append({"request_id": f"kept-{each}", "label": (each + 1) % 2})
    server.wait(lambda: any(b'"kept-23"' in each.read_bytes() for each in root.glob(".rollout/answers*")))

    def tell(several: list[dict]) -> None:
        assert (200, {"known": len(several), "unknown": 0}) == server.ask(
            f"{ADMIN}:labels", {"labels": several}
        )

    tell(labels[:6])
    server.kill_and_start()
    (root / ".rollout" / "labels.json").write_text("{")  # of a disk that has lost it
    server.kill_and_start()
    assert (root / ".rollout" / "labels.json.damaged").exists()
    tell(labels[6:12])
    server.kill_and_start()
    assert (200, {"known": 0, "unknown": 1}) == server.ask(f"{ADMIN}:labels", {"labels": labels[:1]})
    assert (root / "7").is_dir()
    tell(labels[12:20])
    server.wait(lambda: (root / ".withdrawn-7").is_dir() and states(server)[7] == "END")
    assert TWO == ask(server)


def test_the_fallback_answers_while_a_process_is_replaced(server) -> None:
    """SIGKILL of the champion's process: its requests are the fallback's until it has a new one."""
    answers, ending = [], threading.Event()

    def clients() -> None:
        while not ending.is_set():
            answers.append(ask(server))

    threads = [threading.Thread(target=clients) for _ in range(4)]
    for each in threads:
        each.start()
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    (spawner,) = children
    newest = max(map(int, Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()))
    os.kill(newest, signal.SIGKILL)
    server.wait(
        lambda: "noria_serving_process_restarts_total" in server.ask("/monitoring/prometheus/metrics")[1]
    )
    seen = len(answers)
    server.wait(lambda: len(answers) > seen + 50)
    ending.set()
    for each in threads:
        each.join()
    assert {TWO} == set(answers)


def test_another_server_takes_over_what_waits_for_labels(server, root, serving) -> None:
    """Of two servers of one directory one writes; when it is killed, the other one knows its answers."""
    with serving(str(root), "--fallback") as second:
        server.ask("/v1/models/m:predict", {"instances": [2.0]}, x_request_id="handed-over")
        server.wait(
            lambda: any(b'"handed-over"' in each.read_bytes() for each in root.glob(".rollout/answers*"))
        )
        label = {"labels": [{"request_id": "handed-over", "label": 1}]}
        assert (200, {"known": 0, "unknown": 1}) == second.ask(f"{ADMIN}:labels", label)
        server.process.kill()
        second.wait(lambda: (200, {"known": 1, "unknown": 0}) == second.ask(f"{ADMIN}:labels", label))
