"""`noria submit`: a run on Kubeflow Pipelines, followed to its end."""

from typing import Annotated

import typer

from noria.pipeline.cli.options import (
    LONGEST_WAIT,
    PROJECT,
    ConfigFile,
    Image,
    Json,
    Package,
    WaitForRunning,
    connected,
    not_nan,
)
from noria.pipeline.runners.kubeflow.connection import Flags


@connected
def submit(
    config: ConfigFile = PROJECT,
    package: Package = None,
    image: Image = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the run and return at once.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=LONGEST_WAIT,
            callback=not_nan,
            help="Seconds to follow the run, which continues after that. Default: to its end.",
        ),
    ] = None,
    wait_for_running: WaitForRunning = 0,
    *,
    flags: Flags,
    as_json: Json = False,
) -> int:
    """Run the pipeline on Kubeflow Pipelines: upload this version, start it, follow it to its end."""
    from noria.pipeline.cli import cluster
    from noria.pipeline.config import load

    return cluster.submit(
        load(config),
        flags,
        package=package,
        image=image,
        no_wait=no_wait,
        timeout=timeout,
        wait=wait_for_running,
        as_json=as_json,
    )
