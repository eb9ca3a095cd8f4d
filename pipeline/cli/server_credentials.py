"""Options of the commands that ask a server: whom they trust, and who they are."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

TOKEN = "NORIA_SERVING_TOKEN"

CaFile = Annotated[Path | None, typer.Option(help="PEM file of the CA that signed the server's certificate.")]
CertFile = Annotated[Path | None, typer.Option(help="PEM file of the client's certificate.")]
KeyFile = Annotated[
    Path | None, typer.Option(help="The certificate's private key. Default: in the same file.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help=f"File with an API key or a JSON Web Token. Default: the environment's `{TOKEN}`."),
]


def credentials(ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None) -> Any:
    """The client's Credentials.

    Raises:
      ConfigError: the file of the token cannot be read.
    """
    from noria.core import files
    from noria.core.errors import ConfigError
    from noria.serving import client

    token = os.environ.get(TOKEN, "")
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8")
        except OSError as error:
            raise files.refusal(error, "the token cannot be read", token_file, ConfigError) from error
    return client.Credentials(ca, token.strip(), certificate, key)
