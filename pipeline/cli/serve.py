"""`noria serve`: the embedded server."""

from pathlib import Path
from typing import Annotated, Any

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

STORE_SECONDS = 2.0  # between two looks into an object store, at least


def serve(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A model directory: one folder for each version. Default: the project's."),
    ] = None,
    name: Annotated[
        str, typer.Option(help="The model's name. Default: the project's, or the folder's.")
    ] = "",
    models: Annotated[
        Path | None, typer.Option(help="A models.config of TF Serving, instead of one model directory.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of REST; 0 takes a free one.")] = 8501,
    grpc_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of gRPC; 0 takes a free one.")
    ] = 8500,
    grpc_socket: Annotated[str, typer.Option(help="A Unix socket for gRPC, beside its port.")] = "",
    tls_cert: Annotated[
        Path | None, typer.Option(help="The server's certificate; PEM, for both protocols.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's private key; PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Clients must show a certificate that one of these CAs has signed.")
    ] = None,
    access: Annotated[
        Path | None, typer.Option(help="A YAML file with clients, rights and limits (docs/security.md).")
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Allow other machines to connect without --access or --tls-client-ca."
        ),
    ] = False,
    audit_log: Annotated[
        Path | None, typer.Option(help="A file for the audit log: changes of versions, and refused requests.")
    ] = None,
    user: Annotated[str, typer.Option(help="The user of the server's processes, if root starts it.")] = "",
    trusted_key: Annotated[
        list[Path] | None,
        typer.Option(
            help="PEM file of a public key; may be repeated. A version that none of them has signed is refused. "
            "Default: the project's `signing.trusted`."
        ),
    ] = None,
    poll_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds between two reads of the model directory; 0 reads it once.")
    ] = 0.1,
    max_batch_rows: Annotated[int, typer.Option(min=1, help="How many rows are computed together.")] = 1024,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="How many requests of a version may wait; more are refused with 429.")
    ] = 1024,
    max_memory: Annotated[
        int,
        typer.Option(
            min=0,
            help="Memory for all versions of a model, in MiB; a version that does not fit is refused. 0: no limit.",
        ),
    ] = 0,
    log: Annotated[
        Path | None, typer.Option(help="A folder for Parquet files with all requests and answers.")
    ] = None,
    traces: Annotated[
        str,
        typer.Option(
            help="A collector of OpenTelemetry that gets a trace of each request, such as http://localhost:4318.",
            envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
    ] = "",
    fallback: Annotated[
        bool | None,
        typer.Option(
            help="Keep the cold twin or the version before the newest loaded, and answer with it where the newest "
            "fails. Default: `serving.fallback` of the project, and no for a folder."
        ),
    ] = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Serve a model directory by TF Serving's REST and gRPC API; a new version loses no request."""
    import logging

    from noria.core.errors import ConfigError
    from noria.pipeline.config import load
    from noria.stores import model_directory, model_signature

    try:
        from noria.serving import access_settings, server
        from noria.serving import tf_serving_config as files
        from noria.serving.batching import Limits
        from noria.serving.models import Options
        from noria.serving.rollouts.settings import ServingSettings
    except ImportError as error:
        raise ConfigError(
            f"the server needs packages that are not installed ({error.name})",
            next_step='pip install "noria[serving]"',
        ) from error

    if (tls_cert is None) != (tls_key is None) or (tls_client_ca is not None and tls_cert is None):
        raise ConfigError("TLS needs a certificate and its key", next_step="give --tls-cert and --tls-key")
    tls = server.Tls(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None
    found = access_settings.read(access) if access is not None else None
    known = found is not None and found.authenticates
    if found is not None and found.certificates and tls_client_ca is None:
        raise ConfigError("`certificates` need --tls-client-ca", where=access)
    if not _is_loopback(host):
        if not known and tls_client_ca is None and not insecure:
            raise ConfigError(
                f"every client that reaches {host} could send requests",
                next_step="give --access or --tls-client-ca, or --insecure if only trusted clients reach it",
            )
        if known and tls is None:
            console.err().print("tokens go over the network in clear text: --tls-cert, or TLS in front")
    trusted = [each.absolute() for each in trusted_key or []]
    serving, home, published, key = ServingSettings(fallback=False), None, None, None
    if models is not None:
        served: Any = files.read_models(models)
    else:
        if folder is None:
            settings = load(config)
            published = settings.model_root
            folder, name = _followed(published, poll_seconds), name or settings.name
            trusted = trusted or settings.signing.trusted
            if settings.signing.key is not None and not trusted:
                console.err().print("versions are signed, and not verified: `signing.trusted` is empty")
            serving, home, key = settings.serving, settings.home_path.resolve(), settings.signing.key
        if not model_directory.served(folder):
            console.err().print(f"there is no version in {folder} yet; the server waits for one")
        served = files.single_model(name or folder.resolve().name, str(folder.resolve()))
    for each in trusted:
        model_signature.PublicKey.read(each)  # a wrong one is an error now, not when a version comes
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    def started(running: Any) -> None:
        ports = {"rest_port": running.rest_port, "grpc_port": running.grpc_port}
        if as_json:
            console.emit(ports, line=True)
        else:
            names = ", ".join(running.models.models)
            rest, rpc = (
                f"http{'s' if tls else ''}://{host}:{running.rest_port}",
                f"{host}:{running.grpc_port}",
            )
            console.out().print(f"serves {names} at {rest}, gRPC at {rpc}", soft_wrap=True)

    server.run(
        server.Settings(
            models=served,
            host=host,
            rest_port=port,
            grpc_port=grpc_port,
            grpc_socket=grpc_socket,
            tls=tls,
            access=access.absolute() if access is not None else None,
            audit=audit_log.absolute() if audit_log is not None else None,
            user=user,
            traces=traces,
            models_file=models,
            models_file_seconds=poll_seconds if models is not None else 0,
            options=Options(
                poll_seconds=poll_seconds,
                max_memory=max_memory << 20,
                log_folder=log,
                trusted=tuple(trusted),
                any_label=True,  # a label may wait for its version
                fallback=serving.fallback if fallback is None else fallback,
                rollouts=serving.rollout,
                home=home,
                published=published.resolve() if published is not None else None,
                signing_key=key.absolute() if key is not None else None,
                limits=Limits(max_batch_rows=max_batch_rows, max_waiting=max_waiting),
            ),
        ),
        started,
    )
    return console.OK


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _followed(root: Path, seconds: float) -> Path:
    """The model directory; of a home in an object store a folder that follows it while this process lives."""
    import contextlib
    import threading
    import time

    from noria.core import files
    from noria.core.errors import NoriaError

    home = files.home_of(root)
    if home is None:
        return root

    def follow() -> None:
        while True:
            time.sleep(max(seconds, STORE_SECONDS))
            with contextlib.suppress(NoriaError):  # the store may be away for a while; what serves stays
                home.mirror(root)

    if seconds:
        threading.Thread(target=follow, daemon=True).start()
    return home.mirror(root)
