"""Whether a change of the repository, or of the data, asks for a new model: what `noria ci` decides, and why.

`collect` reads the evidence and changes nothing; `decide` is a function of the evidence alone.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noria.core.errors import ClusterError, ConfigError, LaneError
from noria.pipeline.config import Config, load
from noria.pipeline.report.words import ranges
from noria.pipeline.retraining.repository import Repository, Since
from noria.pipeline.runners.kubeflow.records import TrainedRun
from noria.pipeline.runs import lineage
from noria.stores.pending import pending
from noria.stores.registry import Registry, Version
from noria.stores.spans import SpanStore
from noria.stores.versions import TWIN

NOTHING, WARM, COLD = "nothing", "warm", "cold"
# Each part in messages.
WORDS = {
    "preprocessing": "the preprocessing code",
    "model": "the model's code",
    "schema": "the schema",
    "settings": "the settings",
}


@dataclasses.dataclass(frozen=True)
class Change:
    """The changes in git.

    Attributes:
      since: the revision compared with; None if there is none before HEAD.
      parts: names of the changed parts of `lineage.PARTS`.
      problem: why the project could not be read as it was then (all parts count as changed); None where it could.
      other: changed files that belong to none of the changed parts, relative to the repository.
    """

    since: Since | None
    parts: tuple[str, ...]
    problem: str | None = None
    other: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Stores:
    """The state of the home folder.

    Attributes:
      champion: the version that serves.
      differing: parts in which the present code differs from the champion's; None where the champion has no digest.
      tried: the newest version that the present code made after the champion and that does not serve.
      spans: how many there are; `first`: how many the first run needs.
      pending: ids of the spans that wait for a run.
      trained: id of the newest span that was trained on.
    """

    champion: Version | None = None
    differing: tuple[str, ...] | None = ()
    tried: Version | None = None
    spans: int = 0
    first: int = 1
    pending: tuple[int, ...] = ()
    trained: int | None = None


@dataclasses.dataclass(frozen=True)
class Remote:
    """The state of Kubeflow Pipelines, where the home folder is in the cluster, and spans and champion with it.

    Attributes:
      run: name of the newest run that trained on a span; None where none has, or no cluster was reached.
      differing: parts in which the present code differs from that run's; None where its version has no digest.
      silence: why there was no request to the server; None where it was.
    """

    run: str | None = None
    differing: tuple[str, ...] | None = ()
    silence: str | None = None


@dataclasses.dataclass(frozen=True)
class Decision:
    """The verdict, and why.

    Attributes:
      verdict: `nothing`, `warm` (continue from the champion, on the new spans) or `cold` (train from scratch).
      reasons: sentences, the deciding one first.
      again: where no new span waits, run once more on the newest one.
      first: nothing was trained yet, so the run is cold without an option.
    """

    verdict: str
    reasons: tuple[str, ...]
    again: bool = False
    first: bool = False

    @property
    def retrain(self) -> bool:
        return self.verdict != NOTHING


def decide(change: Change, stores: Stores | Remote) -> Decision:
    """Decides from the changes in git and the state of the home folder, or of the cluster.

    The code that made the champion is compared, not the last commits: a change that was trained already needs
    nothing, and one that an earlier run missed is still found. On a cluster, the newest run that trained takes the
    place of the champion. Only where neither has a digest do the commits decide.

    Args:
      change: the changes in git.
      stores: the state of the home folder, or of the cluster that has it.
    """
    if isinstance(stores, Remote):
        return _by_run(change, stores)
    if stores.champion is None:
        return _without_champion(change, stores)
    champion, waiting = stores.champion, _waiting(stores)
    if stores.differing is None:
        silent = f"version {champion.version}, the champion, has no digest of its code"
        by_change = _by_change(change, silent, again=not stores.pending)
        if by_change.retrain or not stores.pending:
            return by_change
        return Decision(WARM, (waiting, *by_change.reasons))
    if stores.differing:
        differ = (
            f"{_listed(stores.differing)} changed since version {champion.version}, the champion, was made"
        )
        if stores.tried is not None and not stores.pending:
            return Decision(NOTHING, (_tried(stores.tried), differ, *_by_commits(change)))
        also = (waiting,) if stores.pending else ("no new span waits: the newest one is run again",)
        return Decision(COLD, (differ, *also, *_by_commits(change)), again=not stores.pending)
    same = f"version {champion.version}, the champion, was made by this code, schema and settings"
    stale = _stale(stores)
    if stores.pending:
        return Decision(WARM, (waiting, same, *stale, *_by_commits(change)))
    return Decision(NOTHING, ("no new span waits", same, *stale, *_by_commits(change)))


def forced(decision: Decision, stores: Stores | Remote) -> Decision:
    """The same, but a cold run where nothing is due, as the user asks for it."""
    if decision.retrain:
        return dataclasses.replace(decision, reasons=(*decision.reasons, "--force was given"))
    again = isinstance(stores, Remote) or not stores.pending
    return Decision(COLD, ("--force was given", *decision.reasons), again=again)


def collect(
    config: Config,
    revision: str | None,
    environ: Mapping[str, str],
    trained: Callable[[], TrainedRun | None] | None = None,
    here: bool | None = None,
) -> tuple[Change, Stores | Remote]:
    """Collects the evidence.

    Args:
      config: the project as it is in the work tree.
      revision: what to compare with; None: see `Repository.since`.
      environ: the environment.
      trained: asks the cluster for the newest run that trained; None where no cluster is named.
      here: whether the home folder that counts is `config.home_path`; None: unless `kubeflow.volume` is set. A
        folder of that name may exist here as well, from runs on this machine.

    Raises:
      RevisionError: no git repository, or a revision that is not there.
      ConfigError: the work tree's preprocessing, model or schema cannot be read.
    """
    now = lineage.parts(config)
    change = _change(config, now, revision, environ)
    if config.kubeflow.volume is None if here is None else here:
        return change, _stores(config, "".join(now.values()))
    return change, _remote(config, trained)


def to_json(change: Change, evidence: Stores | Remote | None, decision: Decision) -> dict[str, Any]:
    """The fields of the object that `noria ci --json` prints."""
    stores = evidence if isinstance(evidence, Stores) else None
    champion = stores.champion if stores else None
    differing = evidence.differing if evidence else None
    return {
        "verdict": decision.verdict,
        "retrain": decision.retrain,
        "reasons": list(decision.reasons),
        "since": change.since.commit if change.since else None,
        "changed": list(change.parts),
        "other_files": list(change.other),
        "champion": champion.version if champion else None,
        "run": evidence.run if isinstance(evidence, Remote) else None,
        "differing": list(differing) if differing is not None else None,
        "pending": list(stores.pending) if stores else None,
        "again": decision.again,
    }


def _change(config: Config, now: dict[str, str], revision: str | None, environ: Mapping[str, str]) -> Change:
    repository = Repository(config.folder)
    since = repository.since(revision, environ)
    if since is None:
        return Change(None, lineage.PARTS, "there is no earlier commit")
    problem = None
    files = lineage.files(config)
    try:
        with _project(repository, since, config) as was:
            before, then = lineage.parts(was), lineage.files(was)
            changed = tuple(part for part in lineage.PARTS if now[part] != before[part])
            root = was.folder.resolve()
            for part in changed:  # what was deleted is behind the part as well
                files[part] |= {
                    config.folder / path.relative_to(root) for path in then[part] if root in path.parents
                }
    except ConfigError as error:
        changed, problem = lineage.PARTS, f"the project cannot be read as it was at {since}: {error.what}"
    behind = {file for part in changed for file in files[part]}
    other = tuple(
        str(file.relative_to(repository.root)) for file in repository.changed(since) if file not in behind
    )
    return Change(since, changed, problem, other)


@contextlib.contextmanager
def _project(repository: Repository, since: Since, config: Config) -> Iterator[Config]:
    """The project's config as it was, its folder among the files as they were."""
    with repository.tree(since) as tree:
        file = tree / config.path.relative_to(repository.root)
        if Path(lineage.__file__).resolve().parents[1] == repository.root:
            # Noria's own repository: `noria.X` as it was, too, not as it is installed.
            (file.parent / "noria").symlink_to(tree, target_is_directory=True)
        yield load(file)


def _remote(config: Config, trained: Callable[[], TrainedRun | None] | None) -> Remote:
    nowhere = "spans and champion are not on this machine"
    if trained is None:
        return Remote(differing=None, silence=f"{nowhere}, and no cluster is set (`kubeflow.host`)")
    try:
        found = trained()
    except (ClusterError, ConfigError, LaneError) as error:
        return Remote(differing=None, silence=f"{nowhere}, and the cluster cannot be asked ({error.what})")
    if found is None:
        return Remote()
    made_of = found.source_digest
    differing = tuple(lineage.differing(made_of, lineage.source_digest(config))) if made_of else None
    return Remote(found.run.name, differing)


def _stores(config: Config, now: str) -> Stores:
    """The state of the home folder."""
    registry = Registry(config.home_path)
    champion, records = registry.champion(), registry.runs()
    differing: tuple[str, ...] | None = ()
    if champion is not None:
        made_of = champion.code_digest
        differing = tuple(lineage.differing(made_of, now)) if made_of else None
    # A version that this code made before the champion was trained says nothing about now.
    since = 0 if champion is None else champion.promoted["version"] if champion.promoted else champion.version
    made = [
        version
        for version in registry.versions()
        if version.code_digest == now
        and version != champion
        and version.version > since
        and version.mode != TWIN
    ]
    return Stores(
        champion=champion,
        differing=differing,
        tried=made[-1] if made else None,
        spans=len(SpanStore(config.home_path).ids()),
        first=config.window.first,
        pending=tuple(pending(config.home_path, config.window.first)),
        trained=max((record.span for record in records), default=None),
    )


def _by_run(change: Change, remote: Remote) -> Decision:
    if remote.silence is not None:
        return _by_change(change, f"{remote.silence}, so the commits decide", again=True)
    if remote.run is None:
        none = "no run on the cluster has trained on a span yet"
        return Decision(COLD, (none, *_by_commits(change)), first=True)
    newest = f"run {remote.run!r}, the newest on the cluster that trained on a span,"
    if remote.differing is None:
        return _by_change(change, f"{newest} has no digest of its code, so the commits decide", again=True)
    if remote.differing:
        differ = f"{_listed(remote.differing)} changed since {newest} was made"
        return Decision(COLD, (differ, *_by_commits(change)), again=True)
    return Decision(NOTHING, (f"{newest} was made by this code, schema and settings", *_by_commits(change)))


def _by_change(change: Change, because: str, again: bool) -> Decision:
    verdict = COLD if change.parts else NOTHING
    return Decision(verdict, (*_by_commits(change), because), again=again and verdict == COLD)


def _without_champion(change: Change, stores: Stores) -> Decision:
    if stores.trained is None and not stores.pending:
        return Decision(
            NOTHING, (f"{stores.spans} spans are there, the first run needs {stores.first} (`window.first`)",)
        )
    if stores.trained is None:
        return Decision(COLD, (f"there is no champion: the first run, on {stores.spans} spans",))
    none = "there is no champion: no version was good enough"
    if stores.pending:
        return Decision(COLD, (none, _waiting(stores)))
    if stores.tried is not None:
        return Decision(NOTHING, (_tried(stores.tried), none))
    return Decision(
        COLD,
        (none, "this code, schema and settings have not been tried yet", *_by_commits(change)),
        again=True,
    )


def _by_commits(change: Change) -> tuple[str, ...]:
    """The commits as reasons."""
    if change.since is None:
        return ("there is no earlier commit to compare with",)
    if change.problem:
        return (change.problem,)
    if change.parts:
        return (f"{_listed(change.parts)} changed since {change.since}",)
    if change.other:
        return (f"no part of the model changed since {change.since}",)
    return (f"nothing changed since {change.since}",)


def _tried(version: Version) -> str:
    why = "; ".join(version.reasons) or f"it is {version.state}"
    return f"version {version.version} was made by this code, schema and settings and does not serve: {why}"


def _stale(stores: Stores) -> tuple[str, ...]:
    champion, trained = stores.champion, stores.trained
    if champion is None or champion.span is None or trained is None or champion.span >= trained:
        return ()
    return (
        f"the champion is stale: it was trained on spans up to {champion.span}, later runs up to {trained}",
    )


def _waiting(stores: Stores) -> str:
    one = len(stores.pending) == 1
    return (
        f"{'a new span waits' if one else f'{len(stores.pending)} new spans wait'}: {ranges(stores.pending)}"
    )


def _listed(parts: tuple[str, ...]) -> str:
    words = [WORDS[part] for part in parts]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
