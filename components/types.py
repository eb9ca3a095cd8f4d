"""Artifact types that TFX does not have."""

from tfx.types import artifact


class DataVerdict(artifact.Artifact):
    """DataGate's verdict: `data_verdict.json`, and custom property `verdict`: ok, drifted or broken."""

    TYPE_NAME = "DataVerdict"
