"""`noria runs`: the newest runs on Kubeflow Pipelines."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json, connected
from noria.pipeline.runners.kubeflow.connection import Flags


@connected
def runs(
    config: ConfigFile = PROJECT,
    limit: Annotated[int, typer.Option(min=1, help="How many runs to list.")] = 10,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """List the newest runs on Kubeflow Pipelines."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from noria.pipeline.cli.cluster import print_failure
    from noria.pipeline.cli.run_view import coloured_state
    from noria.pipeline.config import load
    from noria.pipeline.runners.kubeflow.connection import resolve
    from noria.pipeline.runners.kubeflow.kfp_client import Cluster

    settings = load(config)
    cluster = Cluster(resolve(settings, flags))
    found = cluster.runs(limit)
    if as_json:
        console.emit({"experiment": cluster.connection.experiment, "runs": [run.row() for run in found]})
        return console.OK
    out = console.out()
    if not found:
        out.print(
            f"no run yet in experiment {escape(cluster.connection.experiment)}; `noria submit` starts one"
        )
        return console.OK
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("run", "state", "started (UTC)"):
        table.add_column(title)
    table.add_column("seconds", justify="right")
    table.add_column("id", no_wrap=True)
    for run in found:
        started = f"{run.created:%Y-%m-%d %H:%M}" if run.created else "–"
        seconds = "–" if run.seconds is None else f"{run.seconds:.0f}"
        table.add_row(escape(run.name), coloured_state(run.state), started, seconds, run.id)
    out.print(table)
    out.print(f"[bold]link[/]     {escape(found[0].link)}", soft_wrap=True)
    if found[0].over:
        print_failure(cluster.get_run(found[0].id), cluster, settings)  # a list has no tasks
    return console.OK
