"""Artifact types that TFX does not have.

Kubeflow needs type names of the form `namespace.Name`; the entrypoint finds the class here by this name.
"""

from tfx.types import artifact


class DataVerdict(artifact.Artifact):
    """DataGate's verdict: `data_verdict.json`, and custom property `verdict`: ok, drifted or broken."""

    TYPE_NAME = "noria.DataVerdict"


class Ingested(artifact.Artifact):
    """The result of ingestion: custom property `state`, `waiting` (a span waits for a run) or `nothing`."""

    TYPE_NAME = "noria.Ingested"


class RunReport(artifact.Artifact):
    """The page of one run, `report.html`."""

    TYPE_NAME = "noria.RunReport"
