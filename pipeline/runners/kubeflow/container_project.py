"""The project as a task's container sees it: the same file, in another folder, with its home on the volume."""

import json
from pathlib import Path

from noria.pipeline.config import Config

# The password of a metadata server has no place in a compiled pipeline, and no task reads these two sections.
_LEFT_OUT = ("kubeflow", "metadata", "home")


def in_container(config: Config) -> Config:
    """The settings with the paths that hold in the container.

    A relative path of the YAML file starts from `kubeflow.project` there; an absolute one stays what it is.
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
