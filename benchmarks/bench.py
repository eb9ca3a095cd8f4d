"""All that `make bench` measures, part after part, each in a new process.

    python -m benchmarks.bench [PART ...] [--resume] [--quick] [--out FOLDER]

Without names it runs all parts. A part that fails does not stop the others; the end says which. `--resume` skips
what was measured at the present commit of the code, in full, while the machine was not busy. `--quick` runs every part
on tiny sizes in this process, to see that it runs through, and writes to a temporary folder. In the end
docs/performance.md is written again, unless the results went elsewhere.
"""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure, page

# The quick ones first: a mistake shows early.
PARTS = (
    *("startup", "warm_run", "hotspots", "continuity", "history", "gates"),
    *("scale", "wide", "full_year", "freshness", "year", "memory"),
)

# With a separate page and target; a quick run takes them along.
OTHERS = ("drift", "ingredients", "tables", "reading", "reading_before", "fuzz_reading")

# On the same page, each run by its own command: they start servers.
SERVER = ("serving", "rollouts", "fuzz_serving", "object_store")


def measured(path: Path) -> bool:
    """Whether a result is of the present code, in full, on a machine that had nothing else to do."""
    if not path.exists():
        return False
    result = json.loads(path.read_text())
    at = result.get("machine", {}).get("commit")
    known = at is not None and at == measure.commit() and not at.endswith("+")
    whole = not result.get("quick") and result.get("command") == f"python -m benchmarks.{path.stem}"
    return known and whole and not measure.busy(result)


def run(part: str, options: measure.Options) -> str | None:
    """Runs a part; what went wrong, or None."""
    arguments = ["--out", str(options.out), *(["--quick"] if options.quick else [])]
    if not options.quick:
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *arguments], cwd=measure.ROOT)
        return f"exit code {done.returncode}" if done.returncode else None
    try:  # in this process: importing TFX again takes longer than the part
        importlib.import_module(f"benchmarks.{part}").main(arguments)  # what it found means nothing
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where a part failed."""
    parser = measure.parser(__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS + OTHERS)} (default: all but the last {len(OTHERS)})",
    )
    parser.add_argument("--resume", action="store_true", help="skip what this commit's code was measured for")
    options = measure.options(parser, argv)
    unknown = sorted(set(options.given.parts) - set(PARTS + OTHERS))
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}, only {', '.join(PARTS + OTHERS)}")
    outcomes = []
    for part in options.given.parts or (PARTS + OTHERS if options.quick else PARTS):
        if options.given.resume and measured(options.out / f"{part}.json"):
            outcomes.append((part, "measured already", 0.0))
            continue
        print(f"\n== {part}", flush=True)
        started = time.monotonic()
        outcomes.append((part, run(part, options) or "done", time.monotonic() - started))
    if options.out.resolve() == measure.RESULTS:
        (measure.ROOT / "docs" / "performance.md").write_text(page.page(), encoding="utf-8")
    measure.show("make bench", ["part", "", "seconds"], outcomes)
    return int(any(outcome not in ("done", "measured already") for _, outcome, _ in outcomes))


if __name__ == "__main__":
    sys.exit(main())
