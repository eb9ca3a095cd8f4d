"""Images and containers without a Docker engine or a registry: buildah, on a Debian that mmdebstrap makes.

Needs Linux, root, and Debian's packages buildah and mmdebstrap. All images are in `.setup/containers`; layers of an
earlier run are used again. For a build, and for a build only, the containers get this machine's certificates and its
package index (`PIP_INDEX_URL`); buildah passes the variables for a proxy itself.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORE = ROOT / ".setup" / "containers"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
MIRROR = "http://deb.debian.org/debian"


def certificates() -> list[str]:
    """This machine's certificates as options of `buildah`; none where it has no such file."""
    return [f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.exists() else []


def debian(releases: Sequence[str], packages: Sequence[str]) -> Path:
    """A tar file with the first of these releases of Debian; packages may come from the others."""
    tar = STORE / "-".join([*releases, *packages]) / "debian.tar"
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        sources = [f"deb {MIRROR} {release} main" for release in releases]
        options = ["--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
        partial = tar.with_name("partial.tar")
        _checked(["mmdebstrap", *options, releases[0], str(partial), *sources])
        partial.rename(tar)
    return tar


def build(tag: str, dockerfile: Path, context: Path, arguments: Sequence[str] = ()) -> None:
    """What `docker build -t TAG -f DOCKERFILE CONTEXT` makes."""
    settings = STORE / "xdg"  # pip and uv read their settings for the whole system in /etc/xdg
    index = os.environ.get("PIP_INDEX_URL")
    for program, lines in (
        ("pip/pip.conf", ["[global]", *([f"index-url = {index}"] if index else [])]),
        ("uv/uv.toml", ["system-certs = true", *([f'index-url = "{index}"'] if index else [])]),
    ):
        (settings / program).parent.mkdir(parents=True, exist_ok=True)
        (settings / program).write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["--isolation=chroot", "--layers", "--pull-never", *certificates()]
    options += [f"--volume={settings}:/etc/xdg:ro", *(f"--build-arg={argument}" for argument in arguments)]
    _buildah("build", *options, f"--tag={tag}", f"--file={dockerfile}", str(context))


class Container:
    """A container of an image: commands run in it as the image's user, with the image's environment."""

    def __init__(self, name: str, path: Path):
        self.name = name
        self.path = path  # its root file system, mounted on this machine

    def run(self, *command: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Runs a command; `options` are those of `buildah run`, such as `--volume=FROM:TO`."""
        words = [*_PROGRAM, "run", "--isolation=chroot", *options, self.name, "--", *command]
        return subprocess.run(words, capture_output=True, text=True)


@contextlib.contextmanager
def container(image: str) -> Iterator[Container]:
    """A container of an image, removed at the end."""
    name = _buildah("from", "--pull-never", image)
    try:
        yield Container(name, Path(_buildah("mount", name)))
    finally:
        _buildah("rm", name)


_PROGRAM = ["buildah", f"--root={STORE / 'storage'}", f"--runroot={STORE / 'run'}"]


def _buildah(*arguments: str) -> str:
    return _checked([*_PROGRAM, *arguments]).strip()


def _checked(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert 0 == done.returncode, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout
