"""`noria ci`: the decision of `pipeline/ci.py`, for people, for machines and for GitHub; then the run."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from noria.pipeline import ci as evidence
from noria.pipeline import console
from noria.pipeline.commands import turn as turns
from noria.pipeline.config import Config, load
from noria.pipeline.kubeflow.connection import Flags
from noria.stores.registry import Turn

_STYLES = {evidence.NOTHING: "dim", evidence.WARM: "green", evidence.COLD: "yellow"}
_TITLES = {
    evidence.NOTHING: "nothing to do",
    evidence.WARM: "warm run: go on from the champion",
    evidence.COLD: "cold run: train from nothing",
}
OTHER_FILES = 8  # named; of more, only how many


def decide(config_path: Path, since: str | None, as_json: bool) -> int:
    """Says what is to be done and why; changes nothing."""
    config = load(config_path)
    change, stores, decision = _decided(config, since)
    if as_json:
        console.emit(evidence.to_json(change, stores, decision))
        return console.OK
    _show(config, change, decision)
    if decision.retrain:
        option = "" if config_path == Path("noria.yaml") else f" --config {shlex.quote(str(config_path))}"
        console.out().print(f"[bold]next[/]     noria ci{option} --action run", soft_wrap=True)
    return console.OK


def run(config_path: Path, since: str | None, as_json: bool) -> int:
    """Ingests, decides, and turns the wheel here if that is the verdict."""
    from noria.pipeline import wheel

    config = load(config_path)

    def bring_in(listen: wheel.Listener) -> list[Turn]:
        wheel.bring_in(config, on_event=listen)
        return []

    turns.work(config, bring_in)
    change, stores, decision = _decided(config, since)
    if not as_json:
        _show(config, change, decision)
    made = []
    if decision.verdict == evidence.COLD:
        made = turns.work(config, lambda listen: wheel.retrain(config, again=decision.again, on_event=listen))
    elif decision.verdict == evidence.WARM:
        made = turns.work(config, lambda listen: wheel.turn_all(config, on_event=listen))
    if as_json:
        console.emit({**evidence.to_json(change, stores, decision), **turns.to_json(config, made)})
    elif made:
        turns.show(config, made, config_path)
    return turns.exit_code(made)


def submit(
    config_path: Path,
    since: str | None,
    flags: Flags,
    no_wait: bool,
    as_json: bool,
    image: str | None = None,
) -> int:
    """Decides, and submits a run to Kubeflow Pipelines if that is the verdict."""
    from noria.pipeline.commands import cluster

    config = load(config_path)
    change, stores, decision = _decided(config, since)
    facts = evidence.to_json(change, stores, decision)
    if not as_json:
        _show(config, change, decision)
    elif not decision.retrain:
        console.emit(facts)
    if not decision.retrain:
        return console.OK
    cold = decision.verdict == evidence.COLD
    return cluster.submit(
        config_path, flags, None, no_wait, None, as_json, cold=cold, besides=facts, image=image
    )


def _decided(
    config: Config, since: str | None
) -> tuple[evidence.Change, evidence.Stores | None, evidence.Decision]:
    change, stores = evidence.look(config, since, os.environ)
    decision = evidence.decide(change, stores)
    tell_github(config, change, stores, decision, os.environ)
    return change, stores, decision


def _show(config: Config, change: evidence.Change, decision: evidence.Decision) -> None:
    out = console.out()
    style = _STYLES[decision.verdict]
    out.print(f"[bold]{config.name}[/]  [{style}]{_TITLES[decision.verdict]}[/]", soft_wrap=True)
    for reason in decision.reasons:
        out.print(f"  because  {escape(reason)}", soft_wrap=True)
    if change.other:
        out.print(f"  besides  {escape(_other(change))}", soft_wrap=True)


def _other(change: evidence.Change) -> str:
    named, more = change.other[:OTHER_FILES], len(change.other) - OTHER_FILES
    tail = f" and {more} more" if more > 0 else ""
    return f"changed, and cannot change the model: {', '.join(named)}{tail}"


def tell_github(
    config: Config,
    change: evidence.Change,
    stores: evidence.Stores | None,
    decision: evidence.Decision,
    environ: Mapping[str, str],
) -> None:
    """Appends to the step's outputs and to the job's summary, where GitHub Actions names files for them.

    Outputs: `verdict`, `retrain` (`true` or `false`), `reason` (the first one), `changed`, `pending` (lists of
    words, comma-separated), `champion` (a number or nothing).
    """
    outputs, summary = environ.get("GITHUB_OUTPUT"), environ.get("GITHUB_STEP_SUMMARY")
    facts = evidence.to_json(change, stores, decision)
    if outputs:
        values: dict[str, Any] = {
            "verdict": facts["verdict"],
            "retrain": str(facts["retrain"]).lower(),
            "reason": " ".join(facts["reasons"][0].split()),
            "changed": ",".join(facts["changed"]),
            "pending": ",".join(map(str, facts["pending"] or [])),
            "champion": "" if facts["champion"] is None else facts["champion"],
        }
        with open(outputs, "a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items())
    if summary:
        lines = [f"### {config.name}: {_TITLES[decision.verdict]}", ""]
        lines += [f"- {reason}" for reason in decision.reasons]
        lines += [f"- {_other(change)}"] if change.other else []
        with open(summary, "a", encoding="utf-8") as file:
            file.write("\n".join([*lines, "", ""]))
