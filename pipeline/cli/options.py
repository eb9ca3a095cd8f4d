"""Options that several commands share."""

import functools
import inspect
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from noria.pipeline.runners.kubeflow.connection import Flags

LONGEST_WAIT = 365 * 86400  # seconds; the locks of the operating system take no infinite time


def not_nan(value: float | None) -> float | None:
    """Refuses nan, which typer takes as within any range."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("must be a number of seconds, got nan")
    return value


ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The project's YAML file, or the folder of its noria.yaml.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Wait = Annotated[
    float,
    typer.Option(
        min=0,
        max=LONGEST_WAIT,
        callback=not_nan,
        help="Seconds to wait while another run uses the project; 0 fails at once.",
    ),
]
WaitForRunning = Annotated[
    float,
    typer.Option(
        min=0,
        max=LONGEST_WAIT,
        callback=not_nan,
        help="Seconds to wait while another run of this project is active on the cluster; 0 fails at once.",
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        help="The image of all tasks in the package. Default: `NORIA_KUBEFLOW_IMAGE`, then `kubeflow.image`."
    ),
]
Package = Annotated[
    Path | None,
    typer.Option(help="A package that `noria compile` has written. Default: compiled now."),
]
PROJECT = Path("noria.yaml")


def for_project(config: Path) -> str:
    """The `--config` of a command that is proposed; '' where the command finds the project without it."""
    return "" if config == PROJECT else f" --config {shlex.quote(str(config))}"


def _option(name: str, kind: Any, text: str) -> inspect.Parameter:
    environment = f"NORIA_KUBEFLOW_{name.upper()}"
    option = typer.Option(help=f"{text} Default: `{environment}`, then `kubeflow.{name}`.")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


_CONNECTION = (
    _option("host", str, "Address of the Kubeflow Pipelines API."),
    _option("namespace", str, "Namespace, if Kubeflow has several users."),
    _option("experiment", str, "Experiment of the runs."),
    _option("token_file", Path, "File with the bearer token."),
    _option("cookie_file", Path, "File with the session cookie."),
    _option("ca_file", Path, "PEM file with the CA certificates that verify the server."),
    _option("service_account", str, "Kubernetes service account of the runs' pods."),
)


def connected(command: Callable[..., int]) -> Callable[..., int]:
    """Gives a command the options that say where the cluster is; it gets them as `flags`."""
    own = [each for name, each in inspect.signature(command).parameters.items() if name != "flags"]

    @functools.wraps(command)
    def with_flags(**given: Any) -> int:
        flags = Flags(**{each.name: given.pop(each.name) for each in _CONNECTION})
        return command(**given, flags=flags)

    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    parameters = [*keyword[:-1], *_CONNECTION, keyword[-1]]  # --json stays last
    with_flags.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    with_flags.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_flags
