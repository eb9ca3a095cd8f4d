"""A spinner for steps that take seconds, instead of the output of TensorFlow and TFX."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from noria.pipeline.cli.progress import noise_to

# For the libraries that print before Python's logging is set up.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "GRPC_VERBOSITY": "ERROR"}


@contextlib.contextmanager
def quietly(step: str) -> Iterator[None]:
    """A spinner on a terminal while the block runs; what the libraries print is dropped.

    Args:
      step: text beside the spinner.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    interactive = sys.stderr.isatty()  # before noise_to, which makes descriptor 2 a file
    with (
        tempfile.TemporaryDirectory() as scratch,
        noise_to(Path(scratch) / "log") as output,
        Console(file=output.terminal, force_terminal=interactive or None).status(step),
    ):
        yield
