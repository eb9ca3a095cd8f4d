"""`noria verify`: whether the versions in the model directory are as they were signed."""

from pathlib import Path
from typing import Annotated

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json


def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A model directory, or one version's folder. Default: the project's."),
    ] = None,
    trusted_key: Annotated[
        list[Path] | None,
        typer.Option(help="PEM file of a public key; may be repeated. Default: `signing.trusted`."),
    ] = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Verify the signature of each version: that its files are those which a trusted key signed."""
    from noria.core.errors import ConfigError, RegistryError
    from noria.pipeline.config import load
    from noria.stores import model_directory, model_signature

    keys = list(trusted_key or [])
    if folder is None or not keys:
        settings = load(config)
        folder, keys = folder or settings.model_root, keys or settings.signing.trusted
    if not keys:
        raise ConfigError(
            "no key is trusted", where=config, next_step="give --trusted-key, or set `signing.trusted`"
        )
    trusted = [model_signature.PublicKey.read(each) for each in keys]
    folder = folder.absolute()
    versions = [folder] if folder.name.isdigit() else model_directory.folders(folder)
    if not versions:
        raise RegistryError("there is no version", where=folder, next_step="publish one with `noria run`")
    found, failed = [], False
    for version in versions:
        try:
            key = model_signature.verify(version, trusted)
            found.append({"version": int(version.name), "valid": True, "key": key.id})
            text = f"version {version.name} is valid; signed by {key.file.name} ({key.id[:16]})"
        except RegistryError as error:
            failed = True
            found.append({"version": int(version.name), "valid": False, "reason": error.what})
            text = f"version {version.name} is refused: {error.what}"
        if not as_json:
            console.out().print(text, soft_wrap=True, markup=False)
    if as_json:
        console.emit({"versions": found})
    return console.ATTENTION if failed else console.OK
