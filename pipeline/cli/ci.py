"""`noria ci`: whether a change asks for a new model (`noria.pipeline.retraining.decision`); then the run."""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Image, Json, WaitForRunning, connected
from noria.pipeline.runners.kubeflow.connection import Flags

if TYPE_CHECKING:
    from noria.pipeline.config import Config
    from noria.pipeline.retraining.decision import Change, Decision, Remote, Stores
    from noria.pipeline.runners.kubeflow.records import TrainedRun
    from noria.pipeline.runs.ingest import Listener
    from noria.stores.registry import RunRecord

_STYLES = {"nothing": "dim", "warm": "green", "cold": "yellow"}
_TITLES = {
    "nothing": "nothing to do",
    "warm": "warm run: continue from the champion",
    "cold": "cold run: train from scratch",
}
OTHER_FILES = 8  # that are named; of more, only the number


class Action(str, enum.Enum):
    """What `noria ci` does with its verdict."""

    decide = "decide"
    run = "run"
    submit = "submit"


@connected
def ci(
    config: ConfigFile = PROJECT,
    since: Annotated[
        str | None,
        typer.Option(
            help="The git revision to compare with. Default: the base of GitHub's pull request or push, or where "
            "this branch left the main branch, or the previous commit."
        ),
    ] = None,
    action: Annotated[
        Action, typer.Option(help="decide: print it. run: ingest, and run here. submit: run on Kubeflow.")
    ] = Action.decide,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --action submit: start the run and return at once.")
    ] = False,
    wait_for_running: WaitForRunning = 0,
    home: Annotated[
        Path | None,
        typer.Option(
            help="The home folder to look at, such as the cluster's volume mounted here. Default: the project's, "
            "but with --action submit or `kubeflow.volume` the one in the cluster."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Start a cold run even if none is due.")] = False,
    image: Image = None,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """Decide whether a change of code or data needs a new model, explain why, and start the run."""
    given = _Arguments(config, since, home, force)
    if action is Action.submit:
        return _submit(given, flags, no_wait, wait_for_running, as_json, image)
    return _run(given, as_json) if action is Action.run else _decide(given, flags, as_json)


@dataclasses.dataclass(frozen=True)
class _Arguments:
    """What all actions take.

    Attributes:
      config: the project's YAML file.
      since: the revision to compare with.
      home: the home folder to look at; None: the project's, or the cluster's where it has one.
      force: train even if nothing asks for it.
    """

    config: Path
    since: str | None
    home: Path | None
    force: bool

    def load(self) -> "Config":
        """The project's settings, with the home folder to look at.

        Raises:
          ConfigError: the named home folder does not exist.
        """
        from noria.core.errors import ConfigError
        from noria.pipeline.config import load

        config = load(self.config)
        if self.home is None:
            return config
        if not self.home.is_dir():  # an empty home would mean that nothing is due
            raise ConfigError(
                "the home folder does not exist",
                where=f"--home {self.home}",
                next_step="check that the volume is mounted; before the first run, omit --home",
            )
        return config.moved_to(self.home.absolute())

    def decide(
        self, config: "Config", here: bool, trained: "Callable[[], TrainedRun | None] | None" = None
    ) -> "tuple[Change, Stores | Remote, Decision]":
        """The evidence and the decision."""
        import os

        from noria.pipeline.retraining import decision as retraining

        change, stores = retraining.collect(config, self.since, os.environ, trained, here)
        decision = retraining.decide(change, stores)
        return change, stores, retraining.forced(decision, stores) if self.force else decision


def _decide(given: _Arguments, flags: Flags, as_json: bool) -> int:
    """Prints what is to be done and why; changes nothing."""
    import os

    from noria.pipeline.retraining import decision as retraining

    config = given.load()
    here = given.home is not None or config.kubeflow.volume is None or _shared(config)
    change, stores, decision = given.decide(config, here, _trained(config, flags))
    write_github_outputs(config, change, stores, decision, os.environ)
    if as_json:
        console.emit(retraining.to_json(change, stores, decision))
        return console.OK
    _show(config, change, decision)
    if decision.retrain:
        console.out().print(f"[bold]next[/]     {_next(given, config)}", soft_wrap=True)
    return console.OK


def _run(given: _Arguments, as_json: bool) -> int:
    """Ingests, decides, and runs the pipeline here if that is the verdict."""
    import os

    from noria.core.errors import ConfigError
    from noria.core.locks import hold
    from noria.pipeline.cli import local_run
    from noria.pipeline.config import load
    from noria.pipeline.retraining import decision as retraining
    from noria.pipeline.runs.ingest import ingest
    from noria.pipeline.runs.run import retrain, run_pending

    config = load(given.config)
    if given.home is not None:
        raise ConfigError(
            "--action run works in the project's home folder only",
            where=f"--home {given.home}",
            next_step=f"omit --home, or set `home` in {given.config}",
        )

    def ingest_only(listen: "Listener") -> "list[RunRecord]":
        with hold(config.home_path, wait=0):
            ingest(config, listen)
        return []

    local_run.with_progress(config, ingest_only)
    change, stores, decision = given.decide(config, here=True)
    write_github_outputs(config, change, stores, decision, os.environ)
    if not as_json:
        _show(config, change, decision)
    made = []
    if decision.verdict == retraining.COLD:
        made = local_run.with_progress(
            config, lambda listen: retrain(config, again=decision.again, on_event=listen)
        )
    elif decision.verdict == retraining.WARM:
        made = local_run.with_progress(config, lambda listen: run_pending(config, on_event=listen))
    if as_json:
        console.emit({**retraining.to_json(change, stores, decision), **local_run.to_json(config, made)})
    elif made:
        local_run.show(config, made, given.config)
    return local_run.exit_code(made)


def _submit(
    given: _Arguments, flags: Flags, no_wait: bool, wait: float, as_json: bool, image: str | None
) -> int:
    """Decides, and submits a run to Kubeflow Pipelines if that is the verdict.

    `wait`: seconds to wait for an active run; it may be the run that is due, so the decision is made again after it.
    """
    import os

    from noria.pipeline.cli import cluster
    from noria.pipeline.config import load
    from noria.pipeline.retraining import decision as retraining
    from noria.pipeline.runners.kubeflow.connection import resolve
    from noria.pipeline.runners.kubeflow.kfp_client import Cluster

    config, project = given.load(), load(given.config)
    server = Cluster(resolve(project, flags))  # without a cluster there is nothing to decide
    here = given.home is not None or _shared(config)

    def trained() -> "TrainedRun | None":
        return server.trained(config.name)

    change, stores, decision = given.decide(config, here, trained)
    if decision.retrain and cluster.wait_for_others(server, config, wait):
        change, stores, decision = given.decide(config, here, trained)
    write_github_outputs(config, change, stores, decision, os.environ)
    values = retraining.to_json(change, stores, decision)
    if not as_json:
        _show(config, change, decision)
    elif not decision.retrain:
        console.emit(values)
    if not decision.retrain:
        return console.OK
    cold = decision.verdict == retraining.COLD and not decision.first
    return cluster.submit(
        project, flags, no_wait=no_wait, cold=cold, decision=values, image=image, as_json=as_json
    )


def _shared(config: "Config") -> bool:
    """Whether the cluster's home is this machine's, too: both are one place in an object store."""
    return config.cluster_home == config.home


def _trained(config: "Config", flags: Flags) -> "Callable[[], TrainedRun | None] | None":
    """Asks the cluster for the newest run that trained; None where no cluster is named."""
    import os

    from noria.pipeline.runners.kubeflow.connection import resolve

    if not (flags.host or os.environ.get("NORIA_KUBEFLOW_HOST") or config.kubeflow.host):
        return None

    def ask() -> "TrainedRun | None":
        from noria.pipeline.runners.kubeflow.kfp_client import Cluster

        return Cluster(resolve(config, flags)).trained(config.name)

    return ask


def _next(given: _Arguments, config: "Config") -> str:
    """The command that acts on the decision, for the same home folder."""
    import shlex

    words = ["noria", "ci"]
    if given.config != PROJECT:
        words += ["--config", str(given.config)]
    if given.home is not None:
        words += ["--home", str(given.home)]
    if given.force:
        words.append("--force")
    words += ["--action", "submit" if config.kubeflow.volume is not None else "run"]
    return shlex.join(words)


def _show(config: "Config", change: "Change", decision: "Decision") -> None:
    from rich.markup import escape

    out = console.out()
    style = _STYLES[decision.verdict]
    out.print(f"[bold]{config.name}[/]  [{style}]{_TITLES[decision.verdict]}[/]", soft_wrap=True)
    for reason in decision.reasons:
        out.print(f"  because  {escape(reason)}", soft_wrap=True)
    if change.other:
        out.print(f"  note     {escape(_other(change))}", soft_wrap=True)


def _other(change: "Change") -> str:
    named, more = change.other[:OTHER_FILES], len(change.other) - OTHER_FILES
    tail = f" and {more} more" if more > 0 else ""
    return f"these files changed and do not affect the model: {', '.join(named)}{tail}"


def write_github_outputs(
    config: "Config",
    change: "Change",
    stores: "Stores | Remote | None",
    decision: "Decision",
    environ: Mapping[str, str],
) -> None:
    """Appends to the step's outputs and to the job's summary, if GitHub Actions names files for them.

    Outputs: `verdict`, `retrain` (`true` or `false`), `reason` (the first one), `changed`, `pending` (lists of
    words, comma-separated), `champion` (a number or nothing).
    """
    from noria.pipeline.retraining import decision as retraining

    outputs, summary = environ.get("GITHUB_OUTPUT"), environ.get("GITHUB_STEP_SUMMARY")
    known = retraining.to_json(change, stores, decision)
    if outputs:
        values: dict[str, Any] = {
            "verdict": known["verdict"],
            "retrain": str(known["retrain"]).lower(),
            "reason": " ".join(known["reasons"][0].split()),
            "changed": ",".join(known["changed"]),
            "pending": ",".join(map(str, known["pending"] or [])),
            "champion": "" if known["champion"] is None else known["champion"],
        }
        with open(outputs, "a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items())
    if summary:
        lines = [f"### {config.name}: {_TITLES[decision.verdict]}", ""]
        lines += [f"- {reason}" for reason in decision.reasons]
        lines += [f"- {_other(change)}"] if change.other else []
        with open(summary, "a", encoding="utf-8") as file:
            file.write("\n".join([*lines, "", ""]))
