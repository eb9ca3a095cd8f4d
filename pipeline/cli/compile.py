"""`noria compile`: the project as a package for Kubeflow Pipelines."""

import shlex
from pathlib import Path

from rich.markup import escape

from noria.pipeline.cli import console
from noria.pipeline.cli.options import for_project
from noria.pipeline.cli.quiet import quietly
from noria.pipeline.config import Config, load
from noria.pipeline.runners.kubeflow.image import with_image


def compile_quietly(config: Config, output: Path, cold: bool = False) -> Path:
    """Writes the package; a spinner on a terminal, and nothing of what TensorFlow and TFX say."""
    with quietly("compiling"):
        from noria.pipeline.runners.kubeflow import compiler

        return compiler.compile_package(config, output, cold)


def compile_project(config_path: Path, output: Path, image: str | None, as_json: bool) -> int:
    """Writes the package and says what is in it."""
    config = with_image(load(config_path), image)
    package = compile_quietly(config, output)
    section = config.kubeflow
    if as_json:
        console.emit(
            {
                "project": config.name,
                "package": str(package),
                "image": section.image,
                "pipeline_root": section.pipeline_root,
                "home": section.home,
                "volume": section.volume.claim if section.volume else None,
            }
        )
        return console.OK
    out = console.out()
    out.print(f"[green]✓[/] {escape(str(package))}", soft_wrap=True)
    out.print(f"image {escape(section.image)}, artifacts to {escape(section.pipeline_root)}", soft_wrap=True)
    command = f"noria submit{for_project(config_path)} --package {shlex.quote(str(output))}"
    out.print(f"[bold]next[/] {escape(command)}", soft_wrap=True)
    return console.OK
