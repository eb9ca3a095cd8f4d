"""A project's one YAML file: its sections, how it is read, and the errors for a wrong one.

config = load("noria.yaml")   a checked `Config`, or a `ConfigError` with file, line and what to write instead
"""

from noria.pipeline.config.kubeflow import Kubeflow
from noria.pipeline.config.project import NAME_LENGTH, Config, load, parse_metadata

__all__ = ["NAME_LENGTH", "Config", "Kubeflow", "load", "parse_metadata"]
