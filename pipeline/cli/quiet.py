"""What takes seconds and has nothing to tell: a spinner, instead of TensorFlow's and TFX's own words."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from noria.pipeline.cli.progress import noise_to
from noria.pipeline.cli.run import QUIET


@contextlib.contextmanager
def quietly(doing: str) -> Iterator[None]:
    """A spinner on a terminal while the block runs; what the libraries say is thrown away.

    Args:
      doing: what it says beside the spinner.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    interactive = sys.stderr.isatty()  # asked first: inside, descriptor 2 is a file
    with (
        tempfile.TemporaryDirectory() as scratch,
        noise_to(Path(scratch) / "log") as output,
        Console(file=output.terminal, force_terminal=interactive or None).status(doing),
    ):
        yield
