"""What each ingredient is worth under drift: the streams of `benchmarks.drift` with one ingredient off at a time.

    python -m benchmarks.ingredients [--streams waking,noise_flip] [--off rescue,clip] [--seeds 1] [--quick]

The loss is log loss in nats, of numbers the squared error, as a share of a guess's; `worst` is that of the worst span.
`cost` is the loss without the ingredient minus the loss with all of them, on the same spans. Writes ingredients.json.
"""

import contextlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from benchmarks import drift_product as product
from benchmarks import drift_references as references
from benchmarks import drift_streams as streams
from benchmarks import measure

STREAMS = ("waking", "noise_flip")
FAR = 1e6  # deviations that no value reaches: a clip there clips nothing
# Gives the settings without the ingredient, and for its time a program without it. Those of the Trainer are a dict.
Off = Callable[[], contextlib.AbstractContextManager[dict[str, Any]]]


def _settings(**changes: Any) -> Off:
    return lambda: contextlib.nullcontext(changes)


def _trainer(**changes: Any) -> Off:
    return _settings(trainer=changes)


@contextlib.contextmanager
def _clip() -> Iterator[dict[str, Any]]:
    from noria.components.trainer import normalization

    with mock.patch.object(normalization, "CLIP", FAR):
        yield {}


@contextlib.contextmanager
def _fresh_inputs() -> Iterator[dict[str, Any]]:
    from noria.components.trainer import normalization

    with mock.patch.object(normalization, "_broken", lambda *_: None):
        yield {}


@contextlib.contextmanager
def _restart() -> Iterator[dict[str, Any]]:
    from noria.components.trainer.adam import Adam

    begin = Adam.start_schedule
    with mock.patch.object(Adam, "start_schedule", lambda self, rate, origin: begin(self, rate, 0)):
        yield {}


@contextlib.contextmanager
def _replay_all() -> Iterator[dict[str, Any]]:
    from noria.components.trainer.rescue import Alarm

    with mock.patch.object(Alarm, "contradicts_the_past", lambda self, chosen: False):
        yield {}


@contextlib.contextmanager
def _gate() -> Iterator[dict[str, Any]]:
    from noria.components.evaluator import model_verdict

    with mock.patch.object(model_verdict, "_less_loss", lambda overall: False):
        yield {}


OFF: dict[str, tuple[str, Off]] = {
    "nothing": ("the product as it is", _settings()),
    "base_rate": ("no base rate in the scores", _trainer(base_rate_share=0.0)),
    "rescue": ("no cold model on the newest span", _trainer(rescue_above=None)),
    "replay": ("rows that a rescue has contradicted are replayed", _replay_all),
    "clip": ("inputs are not clipped", _clip),
    "fresh_inputs": ("each input keeps the champion's line", _fresh_inputs),
    "restart": ("the learning rate decays over all runs", _restart),
    "gate": ("a bound can keep a worse champion", _gate),
    "blocks": ("single rows are held out, not blocks", _settings(eval_blocks=0)),
    "tabm": ("the family `wide_deep` instead of `tabm`", _trainer(family="wide_deep")),
    "three_rates": (
        "three learning rates instead of one",
        _trainer(warm_learning_rates=(0.003, 0.001, 0.01)),
    ),
}


def without(config: Any, changes: dict[str, Any]) -> Any:
    """A project's config with the settings that an entry of OFF gives."""
    trainer = config.trainer.model_copy(update=changes.get("trainer", {}))
    return config.model_copy(update={**changes, "trainer": trainer})


def follow(name: str, seed: int, off: str, most: int) -> dict[str, Any]:
    """Follows a stream without one ingredient: its loss over a guess's, that of the worst span, the examples."""
    stream = streams.stream(name, seed)
    spans, ratios, losses, guesses, examples = stream.spans(), [], [], [], 0
    rows = [pa.Table.from_pandas(s.drop(columns="label"), preserve_index=False) for s in spans]
    with tempfile.TemporaryDirectory() as scratch, OFF[off][1]() as changes:
        config = product.project(Path(scratch, name), stream)
        for upcoming, record, served in product.follow(without(config, changes), rows):
            if served is None:
                continue
            labels = spans[upcoming]["label"].to_numpy()
            guess = references.guess(stream, spans[:upcoming], spans[upcoming])
            losses.append(references.measures(stream.task, labels, served)["loss"])
            guesses.append(references.measures(stream.task, labels, guess)["loss"])
            ratios.append(losses[-1] / guesses[-1])
            examples = record["examples"]
            if len(losses) == most:
                break
    return {
        "loss": float(np.mean(losses) / np.mean(guesses)),
        "worst": float(np.max(ratios)),
        "examples": examples,
        "spans": len(losses),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all pairs of stream and ingredient that were asked for."""
    parser = measure.parser(__doc__)
    parser.add_argument("--streams", default=",".join(STREAMS), help="names, with commas")
    parser.add_argument("--off", default=",".join(OFF), help="ingredients, with commas (default: all)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each stream (default: 1)")
    options = measure.options(parser, argv)
    names = options.size(options.given.streams.split(","), ["waking"])
    wanted = options.size(options.given.off.split(","), ["nothing", "rescue"])
    machine = options.machine()
    result: dict[str, Any] = {"off": {key: OFF[key][0] for key in wanted}, "streams": {}}
    for name in names:
        for seed in range(1, options.given.seeds + 1):
            whole: dict[str, Any] | None = None
            for off in wanted:
                # A process for each: what a resident process keeps would hold a part that is off elsewhere.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found = pool.apply(follow, (name, seed, off, options.size(10**9, 2)))
                whole = whole or found
                found |= {"seed": seed, "cost": found["loss"] - whole["loss"]}
                result["streams"].setdefault(name, {}).setdefault(off, []).append(found)
                print(name, seed, off, {k: round(v, 3) for k, v in found.items()}, flush=True)
                options.save("ingredients", result, machine)


if __name__ == "__main__":
    main()
