"""Recovery finishes or deletes what a killed process left; retention deletes old versions."""

from pathlib import Path

from noria.core import files
from noria.core.errors import RegistryError
from noria.stores import model_directory
from noria.stores.publication import Publication, serve
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore
from noria.stores.versions import EXPIRED, REGISTERED, REJECTED, ROLLED_BACK, State, broken_run, run_of

__all__ = ["recover", "retain"]


def recover(registry: Registry, root: Path | str, signing_key: Path | None = None) -> list[str]:
    """Finishes what a killed process began, and deletes its temporary files.

    Args:
      registry: the project's.
      root: the model directory.
      signing_key: PEM file of the key that signs what is published.

    Returns:
      What it did, one sentence each; empty if there was nothing to do.
    """
    root = Path(root)
    publication = Publication(registry, root, signing_key)
    done = []
    with registry.writing("the registry cannot be recovered"):
        for folder in (root, registry.folder / "versions", registry.folder / "events"):
            done += [f"deleted unfinished {path.name} from {folder}" for path in files.sweep(folder)]
        adopted = registry.adopt_orphans()
        done += [f"registered version {number}, which a run had stored" for number in adopted]
        intent = registry.state().rolling_back
        if intent is not None:
            publication.finish_rollback(intent)
            done.append(f"finished the rollback from version {intent['version']} to {intent['to']}")
        for number in sorted(registry.state().publishing):
            state = registry.state()
            is_now = state.versions[number].state
            if number < state.ever_served or is_now != REGISTERED:
                registry.log.append("abandoned", version=number)
                done.append(f"stopped publishing version {number}, which is {is_now}")
                continue
            withheld = publication.publish(number).withheld
            done.append(withheld or f"finished publishing version {number}")
        done += _close_runs(registry, publication)
        done += _close_broken(registry)
        champion = registry.champion()
        if champion is not None and champion.version not in model_directory.served(root):
            serve(champion, root, signing_key)
            done.append(f"added version {champion.version} to {root} again")
        elif (
            champion is not None
            and signing_key is not None
            and not model_directory.is_signed(root, champion.version, signing_key)
        ):
            serve(champion, root, signing_key)
            done.append(f"signed version {champion.version} with {signing_key.name}")
        done += publication.follow_twin()
        done += _delete_expired(registry, root)
    return done


def retain(registry: Registry, keep: int, root: Path | str) -> list[int]:
    """Deletes the files of old versions; their events remain.

    It keeps the newest `keep` versions, the champion, the version for a rollback, the last good one of the champion's
    parent chain, versions that are being published, candidates of a rollout, and the twin.

    Args:
      registry: the project's.
      keep: number of versions to keep, at least 1.
      root: the model directory.

    Returns:
      The versions that expired now.
    """
    if keep < 1:
        raise RegistryError(f"at least one version must be kept, got {keep}")
    with registry.writing("old versions cannot be deleted"):
        state = registry.state()
        alive = sorted(number for number, v in state.versions.items() if v.state != EXPIRED)
        kept = {
            *alive[-keep:],
            *state.served[-2:],
            *state.publishing,
            *state.staged,
            *_last_good_parent(state),
        }
        if state.twin is not None:
            kept.add(state.twin.version)
        expired = [number for number in alive if number not in kept]
        if expired:
            # The log first: nobody may rely on files that are about to be deleted.
            registry.log.append("expired", versions=expired)
        _delete_expired(registry, Path(root))
        return expired


def _close_runs(registry: Registry, publication: Publication) -> list[str]:
    """Records runs that were killed after their version was stored, so that no work is repeated."""
    done = []
    for version in registry.versions():
        state = registry.state()
        if version.span is None or version.run_id in state.runs or ".promoted-" in version.run_id:
            continue
        waits = (
            version.state == REGISTERED and version.promoted is None and version.version not in state.staged
        )
        serving = state.champion.version if state.champion else None
        # If another version has become champion, `publish` withholds this one.
        if waits and (version.version > state.ever_served or version.parent != serving):
            version = publication.publish(version.version)
        registry.record_run(run_of(version))
        done.append(f"ended the run of span {version.span}: version {version.version} is {version.state}")
    return done


def _close_broken(registry: Registry) -> list[str]:
    """Records runs that were killed after they had put their span in quarantine."""
    done = []
    for span, note in SpanStore(registry.home).quarantined().items():
        if note.get("run_id") is None or note["run_id"] in registry.state().runs:
            continue
        registry.record_run(broken_run(note))
        done.append(f"ended the run of span {span}: it is broken and in quarantine")
    return done


def _delete_expired(registry: Registry, root: Path) -> list[str]:
    done = []
    for version in registry.versions():
        leftovers = [root / f"{prefix}{version.version}" for prefix in model_directory.PREFIXES]
        leftovers.append(Path(version.payload))
        if version.state == EXPIRED and any(path.exists() for path in leftovers):
            files.remove_tree(Path(version.payload))
            model_directory.delete(root, version.version)
            done.append(f"deleted the files of version {version.version}, which is expired")
    return done


def _last_good_parent(state: State) -> list[int]:
    number = state.champion.parent if state.champion else None
    while number is not None and number in state.versions:
        version = state.versions[number]
        if version.state not in (REJECTED, ROLLED_BACK, EXPIRED):
            return [number]
        number = version.parent
    return []
