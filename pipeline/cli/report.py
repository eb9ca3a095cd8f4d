"""`noria report`: the path of a run's report."""

from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json


def report(
    span: Annotated[
        int | None, typer.Argument(help="The span of the run. Default: that of the newest run.")
    ] = None,
    config: ConfigFile = PROJECT,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: Json = False,
) -> int:
    """Print the path of a run's report, also of a run that failed."""
    import webbrowser

    from rich.markup import escape

    from noria.core import files
    from noria.core.errors import RegistryError
    from noria.pipeline.config import load
    from noria.pipeline.report.index import summaries

    reports = files.fetched(load(config).home_path / "reports")
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
        console.err().print("there is no browser here; open the file yourself")
    return console.OK
