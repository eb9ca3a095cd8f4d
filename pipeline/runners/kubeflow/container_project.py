"""The project in a task's container: the same file, in another folder, with its home on the volume."""

import json
from pathlib import Path

from noria.pipeline.config import Config

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
    place = {"folder": config.kubeflow.project, "home": config.kubeflow.home}
    return json.dumps({**place, "settings": settings}, default=str, sort_keys=True)


def from_json(text: str) -> Config:
    """What `to_json` wrote, as a config whose paths start from the project's folder in the container."""
    content = json.loads(text)
    settings = {**content["settings"], "home": content["home"]}
    return Config.read(settings, Path(content["folder"]) / "noria.yaml")
