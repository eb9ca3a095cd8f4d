"""The project in a task's container: the same file, in another folder, its home on the volume or in an object store."""

import json
import os
from pathlib import Path

from noria.core.objects.store import SCHEMES
from noria.pipeline.config import Config

# The working copy of a home in an object store. It is in the compiled tasks, so it is the same at compile time.
COPY = "/tmp/noria-home"

# A compiled pipeline must not contain the metadata server's password, and no task reads these sections.
_LEFT_OUT = ("kubeflow", "metadata", "home")


def in_container(config: Config) -> Config:
    """The settings with the paths of the container.

    A relative path of the YAML file starts from `kubeflow.project` there; an absolute one is kept.
    """
    return from_json(to_json(config))


def to_json(config: Config) -> str:
    """The settings as a task's argument; `from_json` reads them in the container."""
    settings = {key: value for key, value in config.settings.items() if key not in _LEFT_OUT}
    home = COPY if config.cluster_home.startswith(SCHEMES) else config.cluster_home
    paths = {"folder": config.kubeflow.project, "home": home}
    return json.dumps({**paths, "settings": settings}, default=str, sort_keys=True)


def from_json(text: str) -> Config:
    """What `to_json` wrote, as a config whose paths start from the project's folder in the container."""
    content = json.loads(text)
    settings = {**content["settings"], "home": content["home"]}
    return Config.read(settings, Path(content["folder"]) / "noria.yaml")


def open_home(home: str) -> Path:
    """The folder of the home in this container; a working copy is brought up to date.

    Tests, whose containers share a file system, name another folder for it: `NORIA_KUBEFLOW_COPY`.

    Raises:
      StoreError: the object store cannot be reached, or refuses.
    """
    if not home.startswith(SCHEMES):
        return Path(home)
    from noria.core.objects.home import mount

    return mount(home, Path(os.environ.get("NORIA_KUBEFLOW_COPY", COPY)))
