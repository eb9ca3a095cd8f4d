"""A project's git repository: the revision to compare with, what changed since, and the tree as it was then.

Only reads; neither the work tree nor the index changes.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from noria.core.errors import RevisionError

TRUNKS = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
# The files of git-lfs are data, which no code needs.
NO_LFS = ("-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false")


@dataclasses.dataclass(frozen=True)
class Since:
    """The revision to compare with.

    Attributes:
      commit: its full hash.
      why: how it was found.
    """

    commit: str
    why: str

    def __str__(self) -> str:
        return f"{self.commit[:10]} ({self.why})"


class Repository:
    """The git repository around a folder.

    Raises:
      RevisionError: the folder is in none, or there is no git.
    """

    def __init__(self, folder: Path):
        self.root = folder
        top = self._git("rev-parse", "--show-toplevel")
        if top is None:
            raise RevisionError(
                f"this is not in a git repository that can be read: {self._stderr}",
                where=folder,
                next_step="run this in the clone; in a container: git config --global --add safe.directory FOLDER",
            )
        self.root = Path(top).resolve()

    def head(self) -> str | None:
        """The commit that is checked out; None before the first one."""
        return self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")

    def since(self, revision: str | None, environ: Mapping[str, str]) -> Since | None:
        """The revision to compare with.

        Args:
          revision: what the user named; None looks, in this order, for the base of GitHub's pull request, the
            commit before GitHub's push, the point where this branch left the main branch, the previous commit.
          environ: the environment, of which GITHUB_BASE_REF and GITHUB_EVENT_PATH are read.

        Returns:
          None if there is nothing before HEAD.

        Raises:
          RevisionError: the revision does not exist here, or the clone is too shallow.
        """
        if revision is not None:
            return Since(self._commit(revision), f"--since {revision}")
        base = environ.get("GITHUB_BASE_REF")
        if base:
            return Since(self._fork(f"origin/{base}"), f"where the pull request left {base}")
        before = _pushed_from(environ.get("GITHUB_EVENT_PATH"))
        if before is not None:
            if self._git("cat-file", "-e", f"{before}^{{commit}}") is not None:
                return Since(before, "the commit before the push")
            if self._shallow():  # else it was removed by a forced push
                raise self._too_shallow(f"{before[:10]}, the commit before the push,")
        head = self.head()
        for trunk in TRUNKS:
            fork = self._git("merge-base", "HEAD", trunk)
            if fork and fork != head:
                return Since(fork, f"where this branch left {trunk.removeprefix('origin/')}")
        if self._shallow():  # HEAD^1 may exist, and still not be where this branch began
            raise self._too_shallow("the commit to compare with")
        parent = self._git("rev-parse", "--verify", "--quiet", "HEAD^1")
        return None if parent is None else Since(parent, "the previous commit")

    def changed(self, since: Since) -> list[Path]:
        """Files that differ between then and the work tree, absolute; untracked ones are among them."""
        tracked = self._git("diff", "--name-only", "--no-renames", "-z", since.commit) or ""
        untracked = self._git("ls-files", "--others", "--exclude-standard", "-z") or ""
        return sorted({self.root / name for name in (tracked + untracked).split("\0") if name})

    @contextlib.contextmanager
    def tree(self, since: Since) -> Iterator[Path]:
        """A folder with all files as they were then, for as long as the context lasts."""
        with tempfile.TemporaryDirectory(prefix="noria-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            there = Path(folder) / "tree"
            there.mkdir()
            made = self._git("read-tree", since.commit, env=index) is not None
            if (
                not made
                or self._git(*NO_LFS, "checkout-index", "-a", f"--prefix={there}/", env=index) is None
            ):
                raise RevisionError(
                    f"the files of {since} cannot be read: {self._stderr}",
                    where=self.root,
                    next_step="git fsck lists what is missing; in CI, fetch the whole history (fetch-depth: 0)",
                )
            yield there

    def _commit(self, revision: str) -> str:
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if found is not None:
            return found
        if self._shallow():
            raise self._too_shallow(revision)
        raise RevisionError(
            f"there is no revision {revision!r} in this repository",
            where=self.root,
            next_step="git log --oneline lists the revisions; git fetch gets those of the server",
        )

    def _fork(self, trunk: str) -> str:
        self._commit(trunk)
        fork = self._git("merge-base", "HEAD", trunk)
        if fork is not None:
            return fork
        if self._shallow():
            raise self._too_shallow(f"where this branch left {trunk}")
        raise RevisionError(
            f"HEAD and {trunk} have no common history",
            where=self.root,
            next_step="name the revision to compare with: --since REV",
        )

    def _too_shallow(self, what: str) -> RevisionError:
        return RevisionError(
            f"this clone is shallow: {what} is not in it",
            where=self.root,
            next_step="git fetch --unshallow; with actions/checkout, fetch-depth: 0",
        )

    def _shallow(self) -> bool:
        return self._git("rev-parse", "--is-shallow-repository") == "true"

    def _git(self, *arguments: str, env: Mapping[str, str] | None = None) -> str | None:
        """What git prints, or None where it fails; `_stderr` keeps its reason."""
        try:
            done = subprocess.run(
                ["git", "-C", str(self.root), *arguments],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "LC_ALL": "C", **(env or {})},
            )
        except FileNotFoundError:
            raise RevisionError(
                "git is not installed", where="the PATH", next_step="apt-get install git"
            ) from None
        self._stderr = " ".join(done.stderr.split())
        return done.stdout.strip("\n") if done.returncode == 0 else None


def _pushed_from(event_file: str | None) -> str | None:
    """`before` of GitHub's push event; None for other events and for a branch that is new."""
    try:
        before = json.loads(Path(event_file or "").read_text(encoding="utf-8")).get("before")
    except (OSError, ValueError, AttributeError):
        return None
    return before if isinstance(before, str) and before.strip("0") else None
