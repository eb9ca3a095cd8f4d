"""What people start often imports nothing heavy."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "modules",
    [
        "noria.stores.registry, noria.stores.spans",
        "noria.ingestion.ingest, noria.ingestion.segments.ingester",
    ],
)
def test_neither_tensorflow_nor_tfx_nor_beam(modules: str) -> None:
    """Stores and ingestion are used by the command line, the server and the ingester."""
    code = (
        f"import sys, {modules}\n"
        "print([name for name in ('tensorflow', 'tfx', 'apache_beam', 'tfx_bsl')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


def test_the_registry_alone_needs_no_arrow() -> None:
    """`noria status` answers at once."""
    code = "import sys, noria.stores.registry; sys.exit('pyarrow' in sys.modules or 'pandas' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code]).returncode
