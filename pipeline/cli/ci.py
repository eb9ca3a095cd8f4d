"""`noria ci`: the decision of `pipeline/retraining/decision.py` for people, machines and GitHub; then the run."""

import dataclasses
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from noria.core.errors import ConfigError
from noria.pipeline.cli import console
from noria.pipeline.cli import run as terminal
from noria.pipeline.config import Config, load
from noria.pipeline.retraining import decision as evidence
from noria.pipeline.runners.kubeflow.connection import Flags, resolve
from noria.pipeline.runners.kubeflow.records import TrainedRun
from noria.stores.registry import RunRecord

_STYLES = {evidence.NOTHING: "dim", evidence.WARM: "green", evidence.COLD: "yellow"}
_TITLES = {
    evidence.NOTHING: "nothing to do",
    evidence.WARM: "warm run: go on from the champion",
    evidence.COLD: "cold run: train from nothing",
}
OTHER_FILES = 8  # named; of more, only how many


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line says.

    Attributes:
      config: the project's YAML file.
      since: the revision to compare with.
      home: the home folder that counts; None: the project's, or the cluster's where it has one.
      force: train even if nothing asks for it.
    """

    config: Path
    since: str | None = None
    home: Path | None = None
    force: bool = False

    def load(self) -> Config:
        """The project's settings, with the home folder that counts.

        Raises:
          ConfigError: the named home folder is not there.
        """
        config = load(self.config)
        if self.home is None:
            return config
        if not self.home.is_dir():  # an empty one would say that nothing is due
            raise ConfigError(
                "there is no home folder",
                where=f"--home {self.home}",
                next_step="is the volume mounted? Before the first run, leave --home out",
            )
        return config.moved_to(self.home.absolute())


def decide(asked: Asked, flags: Flags, as_json: bool) -> int:
    """Says what is to be done and why; changes nothing."""
    config = asked.load()
    here = asked.home is not None or config.kubeflow.volume is None
    change, stores, decision = _decided(config, asked, here, _trained(config, flags))
    tell_github(config, change, stores, decision, os.environ)
    if as_json:
        console.emit(evidence.to_json(change, stores, decision))
        return console.OK
    _show(config, change, decision)
    if decision.retrain:
        console.out().print(f"[bold]next[/]     {_next(asked, config)}", soft_wrap=True)
    return console.OK


def run(asked: Asked, as_json: bool) -> int:
    """Ingests, decides, and runs the pipeline here if that is the verdict."""
    from noria.pipeline.runs import run

    config = load(asked.config)
    if asked.home is not None:
        raise ConfigError(
            "--action run works in the project's own home folder",
            where=f"--home {asked.home}",
            next_step=f"leave --home out, or set `home` in {asked.config}",
        )

    def bring_in(listen: run.Listener) -> list[RunRecord]:
        run.bring_in(config, on_event=listen)
        return []

    terminal.work(config, bring_in)
    change, stores, decision = _decided(config, asked, here=True)
    tell_github(config, change, stores, decision, os.environ)
    if not as_json:
        _show(config, change, decision)
    made = []
    if decision.verdict == evidence.COLD:
        made = terminal.work(
            config, lambda listen: run.retrain(config, again=decision.again, on_event=listen)
        )
    elif decision.verdict == evidence.WARM:
        made = terminal.work(config, lambda listen: run.run_pending(config, on_event=listen))
    if as_json:
        console.emit({**evidence.to_json(change, stores, decision), **terminal.to_json(config, made)})
    elif made:
        terminal.show(config, made, asked.config)
    return terminal.exit_code(made)


def submit(
    asked: Asked, flags: Flags, no_wait: bool, wait: float, as_json: bool, image: str | None = None
) -> int:
    """Decides, and submits a run to Kubeflow Pipelines if that is the verdict.

    `wait`: seconds to wait for a run that goes on; it may be the one that is due, so the decision is made after.
    """
    from noria.pipeline.cli import submit

    config = asked.load()
    _, server = submit.connect(asked.config, flags)  # what cannot be submitted need not be decided
    here = asked.home is not None
    change, stores, decision = _decided(config, asked, here, lambda: server.trained(config.name))
    if decision.retrain and submit.wait_for_others(server, config, wait):
        change, stores, decision = _decided(config, asked, here, lambda: server.trained(config.name))
    tell_github(config, change, stores, decision, os.environ)
    facts = evidence.to_json(change, stores, decision)
    if not as_json:
        _show(config, change, decision)
    elif not decision.retrain:
        console.emit(facts)
    if not decision.retrain:
        return console.OK
    cold = decision.verdict == evidence.COLD and not decision.first
    return submit.submit(
        asked.config, flags, None, no_wait, None, as_json, cold=cold, besides=facts, image=image
    )


def _decided(
    config: Config, asked: Asked, here: bool, trained: Callable[[], TrainedRun | None] | None = None
) -> tuple[evidence.Change, evidence.Stores | evidence.Remote, evidence.Decision]:
    change, stores = evidence.look(config, asked.since, os.environ, trained, here)
    decision = evidence.decide(change, stores)
    return change, stores, evidence.forced(decision, stores) if asked.force else decision


def _trained(config: Config, flags: Flags) -> Callable[[], TrainedRun | None] | None:
    """What asks the cluster; None where none is named."""
    if not (flags.host or os.environ.get("NORIA_KUBEFLOW_HOST") or config.kubeflow.host):
        return None

    def ask() -> TrainedRun | None:
        from noria.pipeline.runners.kubeflow.client import Cluster

        return Cluster(resolve(config, flags)).trained(config.name)

    return ask


def _next(asked: Asked, config: Config) -> str:
    """The command that does it: where the home folder is."""
    words = ["noria", "ci"]
    if asked.config != Path("noria.yaml"):
        words += ["--config", str(asked.config)]
    if asked.home is not None:
        words += ["--home", str(asked.home)]
    if asked.force:
        words.append("--force")
    words += ["--action", "submit" if config.kubeflow.volume is not None else "run"]
    return shlex.join(words)


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
    stores: evidence.Stores | evidence.Remote | None,
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
