"""What several tests, or the tests and the benchmarks, work with. The example's modules can be imported, as in a user's
project."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
if str(EXAMPLES / "flights") not in sys.path:
    sys.path.append(str(EXAMPLES / "flights"))
