"""Runs the pipeline on the past again, in another home folder."""

from pathlib import Path

from noria.core import files
from noria.core.errors import SpanError
from noria.core.locks import hold
from noria.pipeline.config import Config
from noria.pipeline.runs.ingest import Listener
from noria.pipeline.runs.run import run_pending
from noria.stores.pending import pending
from noria.stores.registry import RunRecord
from noria.stores.spans import SpanStore

__all__ = ["replay"]


def replay(
    config: Config, home: Path, *, last: int | None = None, on_event: Listener | None = None
) -> list[RunRecord]:
    """Runs the pipeline on the history again, in another home: what would these settings have done?

    The spans are hard-linked from the project's store; its source is not read, and its registry and its model
    directory are not changed.

    Args:
      config: the project's settings, changed or not.
      home: an empty folder, or that of an earlier replay, which is continued.
      last: id of the last span to run on.
      on_event: as in `run_pending`.

    Raises:
      SpanError: `home` is the project's, or there is no span to replay.
      LockedError: another replay holds that home.
    """
    if home.resolve() == config.home_path.resolve():
        raise SpanError(
            "a replay needs another home folder than the project's",
            where=home,
            next_step="name another folder with --home",
        )
    # The history is what the project's store holds; the source may have newer events.
    offline = config.model_copy(update={"data": config.data.model_copy(update={"source": None})}).moved_to(
        home
    )
    with hold(home):
        with files.explained("the spans cannot be linked", home, SpanError):
            link_spans(config.home_path, home, last)
        waiting = [span for span in pending(home, config.window.first) if last is None or span <= last]
        return run_pending(offline, limit=len(waiting), on_event=on_event)


def link_spans(source: Path, home: Path, last: int | None) -> None:
    """Links each version of the spans up to `last`, each by one rename; what is in quarantine is judged again.

    Raises:
      SpanError: there is no such span.
    """
    spans = home / "spans"
    files.sweep(spans)
    store = SpanStore(source)
    ids = [span for span in store.ids() if last is None or span <= last]
    if not ids:
        raise SpanError(
            "there is no span to replay" if last is None else f"there is no span up to {last} to replay",
            where=store.folder,
            next_step="`noria status` lists the spans; `noria run` makes them from the source",
        )
    for span in ids:
        for version in sorted((store.folder / f"{span:08d}").glob("v*")):
            target = spans / version.parent.name / version.name
            if not target.exists():
                beside = files.staging(spans)
                files.copy_tree(version, beside)
                files.commit_folder(beside, target)
