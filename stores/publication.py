"""Publication: the model directory follows the registry.

Each step is recorded before it is taken, so that `recovery` can finish it after a kill at any instant.
"""

import dataclasses
from pathlib import Path
from typing import Any

from noria.core import files
from noria.core.errors import RegistryError
from noria.stores import model_directory, model_signature, twin
from noria.stores.registry import VERSION_FILE, Registry
from noria.stores.versions import EXPIRED, PUBLISHED, REGISTERED, REJECTED, ROLLED_BACK, State, Version

__all__ = ["Publication"]

SERVING = "serving"


class Publication:
    """Versions of a registry in a model directory.

    Args:
      registry: the project's.
      root: the model directory that TF Serving watches.
      signing_key: PEM file of the key that signs what is published; None for no signatures.
    """

    def __init__(self, registry: Registry, root: Path | str, signing_key: Path | None = None):
        self.registry = registry
        self.root = Path(root)
        self.signing_key = signing_key
        # As the log names it: a home can be moved, and is at another path on each machine if it is in an object store.
        inside = self.root.absolute().is_relative_to(registry.home)
        self.logged_root = str(self.root.absolute().relative_to(registry.home) if inside else self.root)

    def publish(self, number: int) -> Version:
        """Makes a registered version the champion: into the model directory by one rename, then into the log.

        May be repeated after a kill at any instant. A version that serves already is checked; if its folder is gone,
        it is added again.

        A version whose parent is no longer the champion was compared with another model than it would replace: it
        remains registered, and `withheld` gives the reason. A person's promotion ignores this.

        Raises:
          RegistryError: the version is not blessed, is older than what serves, or is damaged.
        """
        with self.registry.writing("the version cannot be published"):
            version = self.registry.version(number)
            state = self.registry.state()
            if version.state == PUBLISHED:
                serve(version, self.root, self.signing_key)
                return version
            if version.state != REGISTERED:
                raise RegistryError(
                    f"version {number} is {version.state}, only a registered one can be published",
                    where=self.registry.folder,
                    next_step=f"`noria promote {number} --force --reason ...` publishes it anyway",
                )
            serving = state.champion.version if state.champion else None
            if version.promoted is None and serving != version.parent:
                return self._withhold(version, serving)
            newer = [
                each for each in {*model_directory.served(self.root), state.ever_served} if each > number
            ]
            if newer:
                raise RegistryError(
                    f"version {number} is older than version {max(newer)}, which is or was served; "
                    "TF Serving would ignore it",
                    where=self.root,
                    next_step=f"`noria promote {number} --force --reason ...` gives it a new number, or "
                    "delete the versions that are not from this registry from the model directory",
                )
            files.sweep(self.root)
            if state.publishing.get(number) != self.logged_root:
                self.registry.log.append("publishing", version=number, model_root=self.logged_root)
            model_dir = serve(version, self.root, self.signing_key)
            self.registry.log.append("published", version=number, model_dir=str(model_dir))
            return self.registry.version(number)

    def stage(self, number: int) -> Version:
        """Puts a version into the model directory as the candidate of a rollout; it serves when it is promoted.

        May be repeated after a kill. A version that serves already is only checked.

        Raises:
          RegistryError: its files were deleted or are damaged, or it is not blessed.
        """
        with self.registry.writing("the candidate cannot be stored"):
            version = self.registry.version(number)
            if version.state == PUBLISHED:
                raise RegistryError(f"version {number} serves already", where=version.model_dir)
            if version.state not in (REGISTERED, ROLLED_BACK):
                raise RegistryError(
                    f"version {number} is {version.state} and cannot be rolled out",
                    where=self.registry.folder,
                    next_step="`noria status` lists the versions; `noria promote --force` overrides a gate, "
                    "`noria rollback` goes back to an earlier champion",
                )
            if number not in self.registry.state().staged:
                self.registry.log.append("staged", version=number)
            files.sweep(self.root)
            withdrawn = self.root / f"{model_directory.WITHDRAWN}{number}"
            if withdrawn.exists():  # its second rollout
                files.remove_tree(withdrawn)
            model_directory.add(
                self.root,
                number,
                version.payload_path / SERVING,
                _serving_digests(version),
                model_directory.CANDIDATE,
                self.signing_key,
            )
            return self.registry.version(number)

    def unstage(self, number: int) -> None:
        """Takes a candidate out of the model directory that had no rollout; it remains registered."""
        with self.registry.writing("the candidate cannot be withdrawn"):
            self.registry.log.append("unstaged", version=number)
            model_directory.withdraw_candidate(self.root, number)

    def promote(self, number: int, reason: str, actor: str) -> Version:
        """Publishes a version with any verdict; the log records who did it and why.

        A version that is older than any that serves or served, also one of another registry, gets a new number, with
        the old one as its parent, because TF Serving takes the largest.

        Returns:
          The version that serves now.

        Raises:
          RegistryError: no reason, it serves already, or its files were deleted.
        """
        if not reason.strip():
            raise RegistryError("a promotion needs a reason", next_step='add --reason "..."')
        with self.registry.writing("the version cannot be promoted"):
            version = self.registry.version(number)
            if version.state == PUBLISHED:
                raise RegistryError(f"version {number} serves already", where=version.model_dir)
            if version.state == EXPIRED:
                raise RegistryError(
                    f"version {number} is expired: retention deleted its files",
                    where=self.registry.folder,
                    next_step="promote a later version; `noria status` lists them",
                )
            state = self.registry.state()
            newest = max([state.ever_served, *model_directory.served(self.root)])
            for each in state.versions.values():
                pending = each.promoted and each.promoted["version"] == number and each.state == REGISTERED
                if pending and each.version >= newest:
                    return self.publish(each.version)
            target = version
            if number <= newest:
                target = self._register_again(version, state, above=newest)
            self.registry.log.append(
                "promoted",
                version=number,
                as_version=target.version,
                reason=reason,
                actor=actor,
                was=version.state,
                model_root=self.logged_root,
            )
            return self.publish(target.version)

    def rollback(self, reason: str, actor: str, to: int | None = None) -> Version:
        """Makes an earlier champion the champion again, or the twin.

        One rename removes the bad version from the model directory, so that the largest number that remains is the good
        one. The twin gets a new number, because its own is not the largest. A second call after a kill finishes the
        first.

        Args:
          reason: why; the log records it.
          actor: who.
          to: the version to go back to, or the twin; the champion's predecessor by default.

        Returns:
          The version that serves now.

        Raises:
          RegistryError: there is no earlier good version, or its files are gone.
        """
        with self.registry.writing("the version cannot be rolled back"):
            begun = self.registry.state().rolling_back
            if begun is not None:
                self.finish_rollback(begun)
                return self.registry.version(begun["to"])
            state = self.registry.state()
            earlier = state.served[:-1]
            if state.served and state.twin is not None and to == state.twin.version:
                return self._roll_back_to_twin(state, state.twin, reason, actor)
            if not earlier:
                only = f"only version {state.served[-1]} ever served" if state.served else "none ever served"
                raise RegistryError(
                    f"there is no version to go back to: {only}",
                    where=self.registry.folder,
                    next_step="publish a better version, or stop the server",
                )
            target = earlier[-1] if to is None else to
            if target not in earlier:
                also = f"; version {state.twin.version} is the twin" if state.twin is not None else ""
                raise RegistryError(
                    f"a rollback to version {target} is not possible; these served before and count as good: "
                    f"{', '.join(map(str, earlier))}{also}",
                    where=self.registry.folder,
                    next_step="choose one of these, or `noria promote` the version under a new number",
                )
            foreign = [
                each
                for each in model_directory.served(self.root)
                if each > target and each not in state.versions
            ]
            if foreign:
                raise RegistryError(
                    f"version {target} cannot serve beside version {max(foreign)}, which is not from this registry: "
                    "TF Serving takes the largest",
                    where=self.root,
                    next_step="delete it from the model directory, or `noria promote "
                    f"{target} --force --reason ...`, which gives version {target} a larger number",
                )
            # All that can fail is done before anything changes.
            serve(self.registry.version(target), self.root, self.signing_key)
            return self._roll_back(state, target, reason, actor)

    def _roll_back_to_twin(self, state: State, found: Version, reason: str, actor: str) -> Version:
        model_directory.check(found.payload_path / SERVING, _serving_digests(found))
        if self.signing_key is not None:
            model_signature.PrivateKey.read(self.signing_key)
        newest = max([state.ever_served, *model_directory.served(self.root)])
        # Its copy comes into the model directory after the intent: as the largest number it serves at once.
        again = self._register_again(found, state, above=newest)
        return self._roll_back(state, again.version, reason, actor)

    def _roll_back(self, state: State, target: int, reason: str, actor: str) -> Version:
        intent = {
            "version": state.served[-1],
            "to": target,
            "model_root": self.logged_root,
            "reason": reason,
            "actor": actor,
        }
        self.registry.log.append("rolling_back", **intent)
        self.finish_rollback(intent)
        return self.registry.version(target)

    def follow_twin(self) -> list[str]:
        """Brings the model directory's twin in line with the log: it is there while its record is better.

        May be repeated after a kill at any instant.

        Returns:
          What it did, one sentence each.
        """
        with self.registry.writing("the twin cannot be stored"):
            state, done = self.registry.state(), []
            found = twin.record(state)
            wanted = found.version if found is not None and found.better else None
            there = model_directory.twins(self.root)
            if wanted is not None and wanted not in there:
                version = state.versions[wanted]
                model_directory.add(
                    self.root,
                    wanted,
                    version.payload_path / SERVING,
                    _serving_digests(version),
                    model_directory.TWIN,
                    self.signing_key,
                )
                done.append(f"added twin {wanted} to {self.root}")
            for number in there:
                if number != wanted:
                    model_directory.take_out_twin(self.root, number)
                    done.append(f"took twin {number} out of {self.root}")
            return done

    def finish_rollback(self, intent: dict[str, Any]) -> None:
        """Finishes a recorded rollback, in the model directory in which it began."""
        root, target = self.registry.home / intent["model_root"], intent["to"]
        model_dir = serve(self.registry.version(target), root, self.signing_key)
        known = self.registry.state().versions
        bad = [each for each in model_directory.served(root) if each > target and each in known]
        if intent["version"] < target:  # the twin, under a number of today
            bad.append(intent["version"])
        model_directory.withdraw(root, bad)
        decision = {key: intent[key] for key in ("version", "to", "reason", "actor")}
        self.registry.log.append("rolled_back", **decision, model_dir=str(model_dir))
        self.follow_twin()

    def _withhold(self, version: Version, serving: int | None) -> Version:
        names = [f"version {n}" if n is not None else "no version" for n in (version.parent, serving)]
        reason = f"was judged against {names[0]}, but {names[1]} serves now; run again"
        if version.withheld != reason:
            self.registry.log.append("withheld", version=version.version, reason=reason)
        return self.registry.version(version.version)

    def _register_again(self, version: Version, state: State, above: int) -> Version:
        again = sum(1 for each in state.versions.values() if each.parent == version.version)
        fields = {field.name: getattr(version, field.name) for field in dataclasses.fields(Version)}
        for name in (
            "version",
            "state",
            "payload",
            "created",
            "model_dir",
            "digests",
            "promoted",
            "withheld",
        ):
            del fields[name]
        fields["verdict"] = self.registry.verdict(version.version)
        fields.update(parent=version.version, run_id=f"{version.run_id}.promoted-{again + 1}")
        for each in state.versions.values():
            # A promotion registered it and was killed before it recorded this.
            unused = each.parent == version.version and each.state == REJECTED and each.promoted is None
            if unused and each.version > above and each.run_id.startswith(f"{version.run_id}.promoted-"):
                return each
        parts = [path for path in version.payload_path.iterdir() if path.name != VERSION_FILE]
        # As rejected: if the promotion is killed before its event, nothing may publish the version.
        return self.registry.register(
            {path.name: path for path in parts}, blessed=False, above=above, **fields
        )


def serve(version: Version, root: Path, signing_key: Path | None = None) -> Path:
    """Adds a version to the model directory; one that is there, or was withdrawn from it, is only checked.

    Raises:
      RegistryError: its files are missing or damaged.
      ConfigError: the key cannot be used.
    """
    if not (root / str(version.version)).exists():
        model_directory.restore(root, version.version)
    return model_directory.add(
        root,
        version.version,
        version.payload_path / SERVING,
        _serving_digests(version),
        signing_key=signing_key,
    )


def _serving_digests(version: Version) -> dict[str, str]:
    folder = f"{SERVING}/"
    digests = version.digests.items()
    return {name[len(folder) :]: digest for name, digest in digests if name.startswith(folder)}
