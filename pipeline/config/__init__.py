"""A project's one YAML file: its sections, how it is read, and what is said when it is wrong."""

from noria.pipeline.config.project import NAME_LENGTH, Config, documentation, load, parse_metadata

__all__ = ["NAME_LENGTH", "Config", "documentation", "load", "parse_metadata"]
