"""Pusher's executor on Kubeflow: the version's `code_digest` is made in the container that the model came from.

The digest holds the versions of installed packages, and those of the machine that compiles may be others.
"""

from typing import Any

from tfx import types

from noria.components.pusher import executor
from noria.pipeline.runners.kubeflow import container_project
from noria.pipeline.runs import lineage


class Executor(executor.Executor):
    """The same, with `code_digest` given as the settings that the digest is made of."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """As the Pusher's; `exec_properties["code_digest"]` is what `container_project.to_json` has written."""
        digest = lineage.digest(container_project.from_json(exec_properties["code_digest"]))
        super().Do(input_dict, output_dict, {**exec_properties, "code_digest": digest})
