"""Retirement: the rows of old spans that nothing needs are deleted.

The spans' ids, manifests and fingerprints stay. So no row is ingested again, positions in sources and streams do not
change, and the data gate recognizes an old span that is sent again. The intent is written first, then files are
deleted, then the end is written: if a process is killed anywhere, the next `noria retire` or `noria run` does the rest.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from noria.components.data_gate.settings import LOOK_BACK
from noria.core import files
from noria.core.errors import DataError
from noria.core.locks import hold
from noria.ingestion.landing import Landing
from noria.ingestion.ledger import Ledger
from noria.pipeline.config import Config
from noria.pipeline.forgetting.caches import accumulators, statistics
from noria.pipeline.forgetting.change import Change
from noria.pipeline.runs.ingest import LANDING
from noria.stores.pending import pending
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore
from noria.stores.versions import EXPIRED

__all__ = ["Retirement", "finish", "retire"]

WINDOW, WAITING, QUARANTINED, VERSION = "the window", "waiting", "in quarantine", "versions"


@dataclasses.dataclass(frozen=True)
class Retirement:
    """What was deleted, or what would be.

    Attributes:
      spans: ids of the spans whose rows go.
      rows, bytes: of these spans, in all their versions.
      changes: what is deleted, store by store.
      kept: why the others stay -> their ids.
      done: False for a dry run.
    """

    spans: tuple[int, ...]
    rows: int
    bytes: int
    changes: tuple[Change, ...]
    kept: dict[str, tuple[int, ...]]
    done: bool


def retire(
    config: Config,
    *,
    keep: int | None = None,
    reason: str = "",
    actor: str,
    dry_run: bool = False,
    wait: float = 0,
) -> Retirement:
    """Deletes the rows of the spans that no run and no version needs. One that was killed before is finished first.

    Needed are the newest `keep` spans, those that a run can train on or compare with, those that wait for a run or are
    in quarantine, and those that a version was trained on whose files `retention` keeps.

    Args:
      config: the project's settings.
      keep: how many of the newest spans stay; None: as `data.keep_spans` says.
      reason: why; `actor`: who.
      dry_run: find the spans, change nothing.
      wait: seconds to wait for a run that holds the project.

    Raises:
      DataError: a person gives no reason.
      LockedError: a run holds the project.
    """
    home = config.home_path
    if not reason.strip() and not dry_run:
        raise DataError("a retirement needs a reason", where="noria retire", next_step='add --reason "..."')
    with hold(home, wait=wait):
        if not dry_run:
            finish(config)
        with SpanStore(home).hold():
            found = _found(config, config.data.keep_spans if keep is None else keep, done=not dry_run)
            if dry_run or not found.spans:
                return found
            # The intent first: whatever has changed, it is known why.
            facts = {"rows": found.rows, "bytes": found.bytes}
            Registry(home).record_retiring(found.spans, reason, actor, facts)
            _carry_out(home, set(found.spans))
            return found


def finish(config: Config) -> bool:
    """Finishes the retirement that was killed, if there is one; the caller holds the home."""
    begun = Registry(config.home_path).state().retiring
    if begun is None:
        return False
    with SpanStore(config.home_path).hold():
        _carry_out(config.home_path, set(begun["spans"]))
    return True


def _carry_out(home: Path, spans: set[int]) -> None:
    landed = list(_landed(home, spans))  # the ledger tells it, and does not change
    SpanStore(home).retire(spans)
    for path in (*_made_from(home, spans), *landed):
        files.remove_tree(path)
    for folder in (home / LANDING, *home.glob("statistics/*"), *home.glob("analyzer_cache/*")):
        files.sweep(folder)  # what a killed process has left
    Registry(home).record_spans_retired()


def _found(config: Config, keep: int | None, done: bool) -> Retirement:
    home = config.home_path
    store = SpanStore(home)
    needed = _needed(config, keep)
    spans = tuple(span for span in store.ids() if span not in needed)
    kept: dict[str, tuple[int, ...]] = {}
    for span, why in needed.items():
        kept[why] = (*kept.get(why, ()), span)
    changes, rows, size = [], 0, 0
    for span in spans:
        for version in store.versions(span):
            manifest = store.manifest(span, version)
            name = manifest.folder.relative_to(home).as_posix()
            changes.append(Change("spans", name, manifest.rows))
            rows += manifest.rows
            size += sum(file["bytes"] for file in manifest.files)
    for path in (*_made_from(home, set(spans)), *_landed(home, set(spans))):
        name = path.relative_to(home).as_posix()
        changes.append(Change(name.partition("/")[0].replace("_", " "), name))
    return Retirement(spans, rows, size, tuple(changes), kept, done)


def _needed(config: Config, keep: int | None) -> dict[int, str]:
    """The spans whose rows stay, ascending, and why."""
    registry, store, window = Registry(config.home_path), SpanStore(config.home_path), config.window
    ids, quarantined, runs = store.ids(), store.quarantined(), registry.runs()
    found: dict[int, str] = {}

    def add(why: str, spans: list[int]) -> None:
        for span in spans:
            found.setdefault(span, why)

    accepted = [span for span in ids if span not in quarantined]
    trained = {run.span for run in runs if run.model_verdict in ("blessed", "rejected")}
    reach = max(window.first, window.cold, window.replay_spans, LOOK_BACK)
    add(WINDOW, ids[-keep:] if keep else [])
    add(WINDOW, accepted[-reach:] if runs else ids)  # before the first run all are its window
    for waiting in pending(config.home_path, window.first):
        add(WAITING, [waiting])
        add(WAITING, [span for span in accepted if span < waiting or span in trained][-reach:])
    add(QUARANTINED, list(quarantined))
    for version in registry.versions():
        if version.state != EXPIRED:
            add(VERSION, [span for span in {version.span, *version.spans} if span is not None])
    known = set(ids)
    return {span: why for span, why in sorted(found.items()) if span in known}


def _made_from(home: Path, spans: set[int]) -> Iterator[Path]:
    """Statistics and accumulators of some spans; the fingerprints beside the statistics stay."""
    for span, _, folder in statistics(home):
        if span in spans and (folder / "FeatureStats.pb").exists():
            yield folder / "FeatureStats.pb"
    for of, path in accumulators(home):
        if of in spans:
            yield path


def _landed(home: Path, spans: set[int]) -> Iterator[Path]:
    """The oldest files of what was copied from a source, as far as all their rows are in retired spans."""
    store = SpanStore(home)
    ledger, without_rows = Ledger(store), spans | store.retired()
    for path in Landing.passed(home / LANDING):
        entry = ledger.entry(files.sha256(files.fetched(path)))
        if "spans" not in entry or not set(entry["spans"]) <= without_rows:
            return
        yield path
