"""The inputs and outputs of one execution of Transform."""

import dataclasses
import os
from glob import glob
from typing import Any


@dataclasses.dataclass
class Request:
    """Inputs and outputs as plain paths and values, without TFX.

    Attributes:
      examples: folder of the raw examples, with `Split-<name>` inside.
      splits: names of the splits; 'train' is analysed, all are transformed.
      schema: of the raw examples (`schema_pb2.Schema`).
      champion: folder of the champion, None if there is none.
      verdict: the data verdict.
      graph, transformed: output folders.
    """

    examples: str
    splits: list[str]
    schema: Any
    champion: str | None
    verdict: str
    graph: str
    transformed: str
    preprocessing: str
    label: str
    home: str = ""
    project: str = ""
    execution: str = "auto"

    def files(self, split: str) -> list[str]:
        """The files of a split of the raw examples."""
        return sorted(glob(os.path.join(self.examples, f"Split-{split}", "*")))

    def outputs(self, split: str) -> dict[str, str]:
        """Each file of a split -> the file of its transformed examples."""
        folder = os.path.join(self.transformed, f"Split-{split}")
        return {file: os.path.join(folder, os.path.basename(file)) for file in self.files(split)}
