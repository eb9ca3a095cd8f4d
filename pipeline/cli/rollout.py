"""`noria rollout`: a candidate beside the champion, judged by the server on the traffic that it gets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

app = typer.Typer(
    help="Rollouts: a candidate gets a part of the champion's traffic, watched by guards.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None, typer.Option(help="A model directory without a project. Default: the project's.")
]
Reason = Annotated[str, typer.Option(help="Why; recorded in the registry.")]


@app.command()
def start(
    version: Annotated[
        int | None, typer.Argument(help="The candidate. Default: the newest version that waits.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="`canary`, `ab` or `shadow`. Default: `serving.rollout.mode`, or `canary`.")
    ] = "",
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the keys, for `ab` and `shadow`.")
    ] = None,
    folder: Folder = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Start a rollout, or continue one that is paused; a running `noria serve` gives the candidate its traffic."""
    from noria.core.settings import validate
    from noria.serving.rollouts.settings import RolloutSettings

    rollouts, defaults = _rollouts(folder, config)
    given = {"mode": mode or defaults["mode"] or "canary", **({"share": share} if share is not None else {})}
    settings = validate(RolloutSettings, {**defaults, **given}, "serving.rollout")
    return _show(rollouts.start(version, settings, console.user()), as_json)


@app.command()
def status(folder: Folder = None, config: ConfigFile = PROJECT, as_json: Json = False) -> int:
    """Show the newest rollout: step, requests, and each guard with its p-value and both arms."""
    found = _rollouts(folder, config)[0].store.read()
    if found is None:
        console.emit({}) if as_json else console.out().print("no rollout yet; `noria rollout start`")
        return console.OK
    return _show(found, as_json)


@app.command()
def pause(folder: Folder = None, config: ConfigFile = PROJECT, as_json: Json = False) -> int:
    """Keep the current step; the guards continue to watch. `noria rollout start` continues the steps."""
    return _show(_rollouts(folder, config)[0].pause(console.user()), as_json)


@app.command()
def abort(
    reason: Reason = "aborted by hand",
    folder: Folder = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Give all traffic back to the champion."""
    return _show(_rollouts(folder, config)[0].abort(reason, console.user()), as_json)


@app.command()
def promote(
    reason: Reason = "promoted by hand",
    folder: Folder = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Make the candidate the champion now."""
    return _show(_rollouts(folder, config)[0].promote(reason, console.user()), as_json)


def _rollouts(folder: Path | None, config: Path) -> tuple[Any, dict[str, Any]]:
    from noria.core.errors import ConfigError
    from noria.pipeline.config import load
    from noria.serving.rollouts.operations import Rollouts
    from noria.serving.rollouts.settings import RolloutSettings

    if folder is not None:
        return Rollouts(folder.resolve()), RolloutSettings().model_dump()
    settings = load(config)
    if isinstance(settings.home, str):
        raise ConfigError(
            "a rollout needs a home that is a folder: an object store gives a server published versions only",
            where=settings.path,
            next_step="let the cluster divide the traffic: `noria serving-manifests`",
        )
    rollouts = Rollouts(settings.model_root, settings.home_path, signing_key=settings.signing.key)
    return rollouts, settings.serving.rollout.model_dump()


def _show(rollout: Any, as_json: bool) -> int:
    from noria.pipeline.cli import rendering
    from noria.serving.rollouts.operations import summary

    found = summary(rollout)
    if as_json:
        console.emit(found)
        return console.OK
    out = console.out()
    rendering.print_rollout(out, found)
    out.print(
        f"requests: candidate {found['requests']['candidate']:,} ({found['step_requests']:,} in this step), "
        f"champion {found['requests']['champion']:,}"
    )
    for name, guard in found["guards"].items():
        if guard is None:
            out.print(f"  {name:8} nothing to compare yet")
            continue
        arms = ", ".join(
            f"{arm} {guard[arm]['mean']:.4g} of {guard[arm]['count']:,}" for arm in ("candidate", "champion")
        )
        out.print(f"  {name:8} {arms}; p {guard['p']:.2g}", soft_wrap=True)
    shadow = found["differences"]
    if shadow:
        mean = shadow["total"] / shadow["compared"] if shadow["compared"] else 0.0
        out.print(
            f"differences: {shadow['different']:,} of {shadow['compared']:,} answers, mean {mean:.3g}; "
            f"{shadow['failures']:,} failed, {shadow['skipped']:,} not mirrored",
            soft_wrap=True,
        )
    return console.OK
