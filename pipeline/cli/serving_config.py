"""`noria serving-config`: TF Serving's configuration files for the project's model directory."""

import time
from pathlib import Path
from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json
from noria.pipeline.cli.server_credentials import CaFile, CertFile, KeyFile, TokenFile, credentials


def serving_config(
    folder: Annotated[Path, typer.Argument(help="Where the files are written.")],
    base_path: Annotated[
        str, typer.Option(help="The model directory as the server sees it. Default: the project's.")
    ] = "",
    url: Annotated[
        str,
        typer.Option(help="The running server, which lists the loaded versions; needed for labels."),
    ] = "",
    wait: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds to wait until the server has loaded the versions that get a label."
        ),
    ] = 60.0,
    ca: CaFile = None,
    cert: CertFile = None,
    key: KeyFile = None,
    token_file: TokenFile = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Write models.config, monitoring.config and batching.config for TF Serving; labels `stable` and `previous`."""
    from noria.core.errors import ServingError
    from noria.pipeline.config import load
    from noria.serving import client, tf_serving_files
    from noria.stores.registry import Registry

    settings = load(config)
    served = Registry(settings.home_path).state().served
    labels = dict(zip(("stable", "previous"), reversed(served), strict=False))
    in_store = isinstance(settings.home, str)
    own = f"{settings.home}/models/{settings.name}" if in_store else str(settings.model_root.resolve())
    path = base_path or own
    versions = labels if url else {}
    who, deadline = credentials(ca, cert, key, token_file), time.monotonic() + wait
    while True:
        available = client.available(url, settings.name, credentials=who) if url else set()
        later = tf_serving_files.write(folder, settings.name, path, versions, available)
        if not later or time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    if later:
        names = ", ".join(f"{label} = {number}" for label, number in later.items())
        raise ServingError(
            f"the server has not loaded the versions of these labels: {names}",
            where=url,
            next_step="start it with --model_config_file_poll_wait_seconds=1, or wait longer (--wait)",
        )
    written = sorted(str(folder / name) for name in ("models.config", "monitoring.config", "batching.config"))
    if as_json:
        console.emit({"files": written, "labels": versions})
    else:
        console.out().print("\n".join(f"wrote {each}" for each in written), soft_wrap=True)
    return console.OK
