"""Several learning rates for warm runs: each trains a candidate, and its record on the span that follows decides.

A held-out share of a span does not tell which rate is best on the next one: on the flights it chose the wrong rate in
19 of 20 weeks. So the candidates of a run are kept in the checkpoint. Before the next run trains, it scores them on the
newest span, which none of them has seen:

    record = 0.6 record + 0.4 loss / loss of a guess

The rate with the least record trains the run's model. Over ten drifting streams three rates (0.001, 0.003, 0.01) gave
.696 of a guess's loss and one gave .706; three train three times as many examples.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from noria.components import journal
from noria.components.trainer.checkpoint import Checkpoint
from noria.components.trainer.loop import Outcome
from noria.components.trainer.rescue import Alarm
from noria.components.trainer.training_rows import Window
from noria.components.trainer.training_run import Run

KEPT = 0.6  # of a record, when a span is added


def score(run: Run, saved: Checkpoint, train: Window, newest: int, alarm: Alarm) -> None:
    """Adds the newest span to the records of the champion's candidates.

    Args:
      run: before its first step, with the champion's state, which it has again at the end.
      saved: the champion's checkpoint.
      train: the window; the newest span's rows are its last ones.
      newest: the number of those rows.
      alarm: holds the loss of a guess on them.
    """
    by_rate: dict[str, dict[str, np.ndarray]] = {}
    for name, array in saved.candidates.items():
        rate, _, variable = name.partition("/")
        by_rate.setdefault(rate, {})[variable] = array
    if not by_rate:
        return
    losses = {}
    network = run.network
    rates, share = network.base_rate.numpy(), network.base_rate_share.numpy()

    def load(checkpoint: Checkpoint) -> None:
        assert run.load is not None, "a run with a champion can load its state"
        run.load(checkpoint)
        network.base_rate.assign(rates)
        network.base_rate_share.assign(share)

    for rate, variables in by_rate.items():
        load(dataclasses.replace(saved, variables=variables))
        losses[rate] = run.machine.loop.served_loss(train, skip=train.rows - newest)
    load(saved)
    run.records = {rate: add(saved.records.get(rate), loss / alarm.guess) for rate, loss in losses.items()}


def add(record: float | None, ratio: float) -> float:
    """A record with one more span.

    >>> add(None, 0.5), add(1.0, 0.5)
    (0.5, 0.8)
    """
    return ratio if record is None else KEPT * record + (1 - KEPT) * ratio


def best(rates: tuple[float, ...], records: Mapping[str, float]) -> float:
    """The rate with the least record; the first one while there are no records.

    >>> best((0.003, 0.001), {}), best((0.003, 0.001), {"0.001": 1.0, "0.003": 1.2})
    (0.003, 0.001)
    """
    return min(rates, key=lambda rate: records.get(str(rate), np.inf))


def train(run: Run, stage: Any, train_one: Callable[..., Outcome], logs: str | None) -> Outcome:
    """Trains a candidate with each rate, the one with the best record last: its state is the run's.

    Args:
      run: a warm run on a new window, before its first step.
      stage: of the journal.
      train_one: trains a run, given `logs`, the folder for TensorBoard's logs.
      logs: that folder for the rate that is taken; the others log nothing.
    """
    rates = run.settings.warm_learning_rates
    chosen = best(rates, run.records)
    if len(rates) == 1:
        return _at(run, chosen, train_one, logs)
    begin, seen, trained = run.machine.loop.snapshot(), run.examples_seen, 0
    run.candidates = {}
    for rate in (*(rate for rate in rates if rate != chosen), chosen):
        run.machine.loop.restore(begin)
        run.examples_seen = seen
        outcome = _at(run, rate, train_one, logs if rate == chosen else None)
        trained += run.report["examples_trained"]
        run.candidates |= {f"{rate}/{name}": v.numpy() for name, v in run.network.state().items()}
    run.report |= {"examples_trained": trained, "rates": {"records": dict(run.records), "chosen": chosen}}
    stage.note(learning_rate=chosen)
    if run.records:
        records = ", ".join(f"{rate}: {value:.4f}" for rate, value in sorted(run.records.items()))
        journal.logger.info("Trainer: learning rate %s is taken; records: %s", chosen, records)
    return outcome


def _at(run: Run, rate: float, train_one: Callable[..., Outcome], logs: str | None) -> Outcome:
    run.first_rate = rate
    run.adam.start_schedule(rate, run.origin)
    return train_one(run, logs=logs)
