"""The measurements behind docs/performance.md. They run on the example and import its modules as users do."""

import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "flights"
sys.path.append(str(EXAMPLE))
