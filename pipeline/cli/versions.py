"""`noria status`, `promote`, `rollback` and `report`: what the project holds, and which version serves."""

import getpass
import webbrowser
from pathlib import Path
from typing import Any

from rich.markup import escape

from noria.core.errors import GateError, RegistryError
from noria.pipeline.cli import console, rendering
from noria.pipeline.cli.options import for_project
from noria.pipeline.config import load
from noria.pipeline.report.words import ranges
from noria.stores.publication import Publication
from noria.stores.registry import Registry, Version


def status(config_path: Path, as_json: bool, all_runs: bool) -> int:
    """Champion, versions and runs."""
    from noria.pipeline.cli import project_status as reader

    found = reader.read(load(config_path))
    if as_json:
        console.emit(found.to_json())
        return console.OK
    out = console.out()
    spans = f"{len(found.spans)} spans ({ranges(found.spans)})"
    if found.quarantined:
        spans += f", [red]in quarantine: {ranges(found.quarantined)}[/]"
    if found.pending:
        spans += f", waiting for a run: {ranges(found.pending)}"
    out.print(f"[bold]{found.config.name}[/]  {spans}", soft_wrap=True)
    if not found.versions:
        out.print("no version yet; `noria run` makes the first")
    else:
        out.print(rendering.versions_table(found.versions))
    if found.runs:
        shown = found.runs if all_runs else found.runs[-8:]
        out.print(
            "runs" if len(shown) == len(found.runs) else f"the last {len(shown)} of {len(found.runs)} runs"
        )
        out.print(rendering.runs_table(shown))
        rendering.print_decisions(out, shown)
    if found.champion:
        out.print(
            f"[bold]champion[/] version {found.champion.version}: {escape(str(found.champion.model_dir))}"
        )
    return console.OK


def promote(config_path: Path, version: int, force: bool, reason: str, as_json: bool) -> int:
    """Publishes a version by a person's decision, which goes into the registry's log."""
    config = load(config_path)
    registry = Registry(config.home_path)
    found = registry.version(version)
    if not force:
        said = "; ".join(found.reasons) or "it did not win against the champion"
        raise GateError(
            f"version {version} is {found.state}: promoting it overrides the gate ({said})",
            where=registry.folder,
            next_step=f'noria promote {version}{for_project(config_path)} --force --reason "why"',
        )
    promoted = Publication(registry, config.model_root).promote(version, reason, actor())
    return _changed(promoted, "promoted", as_json)


def rollback(config_path: Path, to: int | None, reason: str, as_json: bool) -> int:
    """Makes an earlier champion serve again."""
    config = load(config_path)
    publication = Publication(Registry(config.home_path), config.model_root)
    version = publication.rollback(reason, actor(), to)
    return _changed(version, "rolled back", as_json)


def report(config_path: Path, span: int | None, open_it: bool, as_json: bool) -> int:
    """The path of a run's report, the newest by default; of a run that failed, too."""
    from noria.pipeline.report.index import summaries

    reports = load(config_path).home_path / "reports"
    found = [page for page in summaries(reports) if span in (None, page.get("span"))]
    if not found:
        raise RegistryError(
            "there is no report yet" if span is None else f"there is no report of a run on span {span}",
            where=reports,
            next_step="`noria run` writes one for each run; `noria status` lists the runs",
        )
    page = found[-1]
    if as_json:
        console.emit({"span": page.get("span"), "run_id": page.get("run_id"), "report": str(page["path"])})
    else:
        console.out().print(escape(str(page["path"])), soft_wrap=True)
    if open_it and not webbrowser.open(page["path"].as_uri()):
        console.err().print("no browser here; open the file by hand")
    return console.OK


def _changed(version: Version, how: str, as_json: bool) -> int:
    if as_json:
        values: dict[str, Any] = rendering.version_row(version)
        console.emit({"champion": version.version, "version": values})
    else:
        out = console.out()
        out.print(
            f"[green]✓[/] {how}: version {version.version} serves from {escape(str(version.model_dir))}"
        )
    return console.OK


def actor() -> str:
    """Who types, for the registry's log."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"
