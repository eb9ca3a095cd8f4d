"""The window: which spans a run trains on, and which of their rows."""

import dataclasses
import json
from collections.abc import Callable, Collection, Sequence

import numpy as np
import pyarrow as pa

from noria.components.example_gen import split
from noria.core.errors import DataError, SpanError, did_you_mean


@dataclasses.dataclass(frozen=True)
class Window:
    """How a run picks its rows.

    Attributes:
      first: spans that must exist before the first run; determines the span `next`.
      cold: spans a cold run trains on, the newest included.
      replay: rows of older spans a warm run trains on, as a share of the newest span's rows.
      replay_spans: number of older spans of the replay sample; it bounds the cost of a warm run.
      eval_share: share of each span's rows that no run trains on (0 to 1).
      eval_blocks: blocks of consecutive rows, at least, that are held out of a span; 0: single rows, by the hash
        of their key.
      key: columns that identify a row, for `eval_blocks: 0`; by default all but the label.
      twin: published versions after which a cold twin is due; None for never.
    """

    first: int = 4
    cold: int = 8
    replay: float = 0.25
    replay_spans: int = 8
    eval_share: float = 0.2
    eval_blocks: int = 4
    key: tuple[str, ...] = ()
    twin: int | None = None

    @classmethod
    def from_json(cls, text: str) -> "Window":
        """Reads the exec property; unknown keys are an error."""
        values = json.loads(text)
        return cls(**{**values, "key": tuple(values.get("key", ()))})


@dataclasses.dataclass(frozen=True)
class Pick:
    """One span's part in a run.

    Attributes:
      span: the span's id.
      train_rate: share of its training rows that is taken: 1.0, or the replay sample's rate.
      evaluate: whether its held-out rows are the run's eval split.
    """

    span: int
    train_rate: float
    evaluate: bool

    @property
    def file_stem(self) -> str:
        """Replayed spans have another name: statistics of the newest span ignore them."""
        return f"{'replay' if self.train_rate < 1.0 else 'span'}-{self.span:08d}"


def pick(
    window: Window,
    spans: Sequence[int],
    rows: Callable[[int], int],
    newest: int,
    warm: bool,
    trained: Collection[int] = (),
    since: int | None = None,
) -> list[Pick]:
    """Chooses the spans of a run.

    The run's span may not be the store's newest: a span that left quarantine has its run after later spans. Those
    belong to the window too, so that the model does not forget them. A later span that had no run does not, because no
    gate has checked it.

    Args:
      window: the project's settings.
      spans: ids of the spans that may be trained on, ascending.
      rows: tells the rows of a span; asked for the window's spans only.
      newest: id of the span the run is about.
      warm: whether the run continues from a champion.
      trained: spans that a model was trained on; of spans later than `newest` only these are taken.
      since: the span that contradicted all older ones, by the last rescue; those are not taken.

    Returns:
      Picks in ascending order of span, and last the span the run is about.

    Raises:
      SpanError: `newest` is not among `spans`.
    """
    if newest not in spans:
        raise SpanError(
            f"span {newest} is not in the span store, or is in quarantine",
            where=f"known spans: {', '.join(map(str, spans[-8:])) or 'none'}",
            next_step="choose one of these, or ingest the span first",
        )
    others = [span for span in spans if span < newest or (span > newest and span in trained)]
    others = [span for span in others if since is None or span >= since]
    last = Pick(newest, 1.0, True)
    if not warm:
        taken = others[-(window.cold - 1) :] if window.cold > 1 else []
        return [Pick(span, 1.0, False) for span in taken] + [last]
    taken = others[-window.replay_spans :] if window.replay > 0 else []
    available = sum(map(rows, taken))
    if not available:
        return [last]
    # With a rate of 1 the file would have the name of a span that is trained on completely.
    rate = min(window.replay * rows(newest) / available, 0.999)
    return [Pick(span, rate, False) for span in taken] + [last]


def select(
    table: pa.Table, picked: Pick, window: Window, label: str, newest: int, first: int, rows: int
) -> dict[str, pa.Table]:
    """Splits one batch of a span's rows.

    Args:
      table: the batch.
      picked: the span's part in the run.
      window: the project's settings.
      label: the label's column.
      newest: id of the newest span of the run.
      first: place of the batch's first row in the span, from 0.
      rows: of the whole span.

    Returns:
      `train`, `eval` (both labelled rows only) and `unlabelled`, each a table with the columns of `table`.

    Raises:
      DataError: a column of the key is missing.
    """
    labelled = np.asarray(table.column(label).is_valid())
    if pa.types.is_floating(table.column(label).type):
        labelled &= ~np.isnan(table.column(label).to_numpy())
    missing = [name for name in window.key if name not in table.column_names]
    if missing:
        raise DataError(
            f"span {picked.span} has no column {missing[0]!r}, which the config names in `key`",
            where=f"columns: {', '.join(table.column_names)}",
            next_step=did_you_mean(missing[0], table.column_names)
            or "correct `key` in the config, or ingest the span again with the column",
        )
    if window.eval_blocks:
        hashes = split.place_hash(first, len(table), picked.span)
        place = (first, len(table), rows)
        held_out = split.in_blocks(*place, window.eval_share, window.eval_blocks, salt=picked.span)
    else:
        key = list(window.key) or [name for name in table.column_names if name != label]
        hashes = split.key_hash(table, key)
        held_out = split.is_eval(hashes, window.eval_share)
    train = labelled & ~held_out
    if picked.train_rate < 1.0:
        # The salt is the run's newest span, so that each run replays other rows.
        train &= split.in_sample(hashes, picked.train_rate, salt=newest)
    parts = {"train": train, "unlabelled": ~labelled}
    parts["eval"] = labelled & held_out if picked.evaluate else np.zeros(len(table), bool)
    return {name: table.filter(pa.array(mask)) for name, mask in parts.items()}
