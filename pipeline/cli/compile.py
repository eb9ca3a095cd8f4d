"""`noria compile`: the project as a package for Kubeflow Pipelines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Image, Json, for_project

if TYPE_CHECKING:
    from noria.pipeline.config import Config


def compile_(
    output: Annotated[Path, typer.Option("--output", "-o", help="The YAML file to write.")] = Path(
        "pipeline.yaml"
    ),
    config: ConfigFile = PROJECT,
    image: Image = None,
    as_json: Json = False,
) -> int:
    """Write the package for Kubeflow Pipelines: the pipeline with its volume, secrets and resources."""
    import shlex

    from rich.markup import escape

    from noria.pipeline.config import load
    from noria.pipeline.runners.kubeflow.image import with_image

    settings = with_image(load(config), image)
    package = compile_quietly(settings, output)
    section = settings.kubeflow
    if as_json:
        console.emit(
            {
                "project": settings.name,
                "package": str(package),
                "image": section.image,
                "pipeline_root": section.pipeline_root,
                "home": settings.cluster_home,
                "volume": section.volume.claim if section.volume else None,
            }
        )
        return console.OK
    out = console.out()
    out.print(f"[green]✓[/] {escape(str(package))}", soft_wrap=True)
    root = section.pipeline_root or "the namespace's own root"
    out.print(f"image {escape(section.image)}, artifacts to {escape(root)}", soft_wrap=True)
    command = f"noria submit{for_project(config)} --package {shlex.quote(str(output))}"
    out.print(f"[bold]next[/] {escape(command)}", soft_wrap=True)
    return console.OK


def compile_quietly(config: "Config", output: Path, cold: bool = False) -> Path:
    """Writes the package, with a spinner on a terminal and without the output of TensorFlow and TFX."""
    from noria.pipeline.cli.quiet import quietly

    with quietly("compiling"):
        from noria.pipeline.runners.kubeflow import compiler

        return compiler.compile_package(config, output, cold)
