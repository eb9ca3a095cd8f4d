"""The whole wheel over the year's flights with the example's own settings: how many verdicts of each kind.

python -m benchmarks.year

Writes benchmarks/results/year.json: a record per turn, without the reports.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

from noria.pipeline.config import load
from noria.pipeline.wheel import turn_all

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Turns the wheel on all weeks and keeps what came of each."""
    turns = []
    with tempfile.TemporaryDirectory() as home:
        config = load(ROOT / "flights").moved_to(Path(home))
        while made := turn_all(config, limit=1):
            turn = made[0]
            kept = (
                "span",
                "data_verdict",
                "model_verdict",
                "mode",
                "version",
                "metrics",
                "reasons",
                "seconds",
            )
            record = dataclasses.asdict(turn)
            turns.append({name: record[name] for name in kept})
            print(turn.span, turn.mode, turn.data_verdict, turn.model_verdict, *turn.reasons[:1], flush=True)
    results = Path(__file__).parent / "results"
    (results / "year.json").write_text(json.dumps({"turns": turns}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
