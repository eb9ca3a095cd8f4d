"""`noria serving-manifests`: the rollout of a version on a cluster."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Image, Json


def serving_manifests(
    output: Annotated[Path, typer.Argument(help="The YAML file to write.")],
    version: Annotated[
        int | None, typer.Option(help="The candidate. Default: the newest version that is registered.")
    ] = None,
    target: Annotated[
        Literal["argo", "kserve"],
        typer.Option("--for", help="What divides the traffic: Argo Rollouts or KServe."),
    ] = "argo",
    claim: Annotated[
        str, typer.Option(help="The PersistentVolumeClaim with the home. Default: `kubeflow.volume.claim`.")
    ] = "",
    home: Annotated[str, typer.Option(help="The home's path in that volume.")] = "",
    prometheus: Annotated[
        str, typer.Option(help="The Prometheus that Argo asks.")
    ] = "http://prometheus.monitoring:9090",
    replicas: Annotated[int, typer.Option(min=1, help="How many pods.")] = 4,
    namespace: Annotated[str, typer.Option(help="The namespace of the objects.")] = "default",
    gateway: Annotated[
        str, typer.Option(help="A Gateway whose HTTPRoute divides requests. Default: pods are divided.")
    ] = "",
    image: Image = None,
    config: ConfigFile = PROJECT,
    as_json: Json = False,
) -> int:
    """Write a version's rollout for Kubernetes, with an analysis from the guards of `serving.rollout`."""
    import yaml

    from noria.core import files
    from noria.core.errors import ConfigError
    from noria.pipeline.config import load
    from noria.pipeline.runners.kubeflow.image import with_image
    from noria.serving import manifests
    from noria.stores.registry import Registry
    from noria.stores.versions import REGISTERED

    settings = with_image(load(config), image)
    registry = Registry(settings.home_path)
    registered = [each.version for each in registry.versions() if each.state == REGISTERED]
    champion = registry.champion()
    chosen = (
        version if version is not None else max(registered, default=champion.version if champion else None)
    )
    if chosen is None:
        raise ConfigError("no version is ready for a rollout", next_step="run `noria run` to make one")
    registry.version(chosen)
    volume = claim or (settings.kubeflow.volume.claim if settings.kubeflow.volume else "")
    if not volume:
        raise ConfigError("no volume has the home", next_step="give --claim, or set `kubeflow.volume.claim`")
    served = manifests.Target(
        settings.name,
        settings.kubeflow.image,
        volume,
        home,
        prometheus,
        replicas,
        namespace,
        gateway,
    )
    rollout = settings.serving.rollout
    if target == "argo":
        objects = manifests.argo(served, chosen, rollout)
    else:
        if champion is None or champion.version == chosen:
            raise ConfigError(
                f"KServe's canary needs a champion beside version {chosen}",
                next_step="name another version with --version",
            )
        objects = manifests.kserve(served, chosen, champion.version, rollout)
    files.write_text(output, yaml.safe_dump_all(objects, sort_keys=False, width=120))
    if as_json:
        console.emit({"file": str(output), "version": chosen, "objects": [each["kind"] for each in objects]})
    else:
        console.out().print(f"wrote {output}: version {chosen}, {len(objects)} objects", soft_wrap=True)
    return console.OK
