"""The image without a Docker engine: the Dockerfile's own lines, run in a clean root file system.

    python3 deploy/rootfs.py build FOLDER           FOLDER/image is what `docker build` makes
    python3 deploy/rootfs.py run FOLDER COMMAND...  a command in it, as the image's user, with its environment only
    python3 deploy/rootfs.py size FOLDER            its bytes, and what the Dockerfile adds to its base

Proves the Dockerfile where no engine is at hand, and makes nothing that is shipped. Needs Linux, root and
debootstrap. The base image `python:X.Y-slim-RELEASE` is stood in for by that release of Debian and, as Debian
has each Python in one release only, the Python of the release that has X.Y. Settings of the package clients are
lent at run time: variables of the environment, the certificates, and what `--bind` names; nothing of them stays.
"""

import argparse
import dataclasses
import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PYTHON_OF = {"3.11": "bookworm", "3.13": "trixie"}  # Python -> the release of Debian that has it
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LENT = re.compile(r"(PIP|UV)_|.*(_PROXY|_CERT|_CERT_FILE|_CERT_DIR|_CA_BUNDLE|CAINFO)$", re.IGNORECASE)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# $1 the root, $2 the user, $3 the working folder, $4 host folders to bind ("from:to", one a line), then the command.
ENTER = """
root=$1 user=$2 cwd=$3 binds=$4; shift 4
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for file in /etc/resolv.conf /etc/hosts; do touch "$root$file" && mount --bind "$file" "$root$file"; done
echo "$binds" | while IFS=: read -r from to; do
  [ -n "$from" ] || continue
  if [ -d "$from" ]; then mkdir -p "$root$to"; else mkdir -p "$root${to%/*}" && touch "$root$to"; fi
  mount --bind "$from" "$root$to"
done
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$cwd" "$@"
"""


class BuildError(Exception):
    """A line of the Dockerfile that failed, or that this program does not know."""


@dataclasses.dataclass
class Stage:
    """One `FROM` and what came of it: its folder, and what the lines said of how to run in it."""

    folder: Path
    env: dict[str, str] = dataclasses.field(default_factory=lambda: {"PATH": PATH})
    user: str = "0:0"
    workdir: str = "/"


def lines(dockerfile: Path = DOCKERFILE) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments; comments left out, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), " ".join(rest.split())


def build(folder: Path, mirror: str | None, binds: Sequence[str]) -> None:
    """Makes `folder`/image from the Dockerfile; a base that is there is taken, and an image of the same sources."""
    told, sources = folder / "image.json", _sources()
    if told.exists() and json.loads(told.read_text(encoding="utf-8")).get("sources") == sources:
        return
    told.unlink(missing_ok=True)
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in lines():
        print(f"{word} {rest}", file=sys.stderr, flush=True)
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            image, _, name = _expand(rest, arguments).partition(" AS ")
            if image in stages:
                before = stages[image]
                stage = Stage(folder / (name or "image"), dict(before.env), before.user, before.workdir)
                _fresh_copy(before.folder, stage.folder)
            else:
                stage = Stage(folder / (name or "image"))
                _fresh_copy(_base(folder / "base", image, mirror, binds), stage.folder)
            stages[name] = stage
        elif stage is None:
            raise BuildError(f"{word} before the first FROM")
        elif word == "RUN":
            _enter(stage, ["/bin/sh", "-c", rest], {**stage.env, **_lent_variables()}, _lent_files(binds))
        elif word == "ENV":
            stage.env |= dict(pair.split("=", 1) for pair in shlex.split(_expand(rest, stage.env)))
        elif word == "WORKDIR":
            stage.workdir = rest
            _inside(stage, rest).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            stage.user = rest
        elif word == "COPY":
            _copy(stage, shlex.split(rest), stages)
        elif word not in ("CMD", "ENTRYPOINT", "LABEL", "EXPOSE"):
            raise BuildError(f"this program does not know {word}")
    if stage is None:
        raise BuildError(f"there is no FROM in {DOCKERFILE}")
    facts = {"env": stage.env, "user": stage.user, "workdir": stage.workdir, "sources": sources}
    told.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def run(folder: Path, command: Sequence[str], binds: Sequence[str] = (), env: Sequence[str] = ()) -> int:
    """Runs a command in the image as its user; the environment is the image's and `env` ("NAME=value")."""
    told = json.loads((folder / "image.json").read_text(encoding="utf-8"))
    stage = Stage(folder / "image", told["env"], told["user"], told["workdir"])
    variables = {"HOME": "/home/noria", **stage.env, **dict(pair.split("=", 1) for pair in env)}
    return _enter(stage, command, variables, binds, check=False)


def size(folder: Path) -> dict[str, int]:
    """Bytes of the base, of the image, and of what the Dockerfile adds; hard links count once."""
    whole, base = (_bytes(folder / name) for name in ("image", "base"))
    return {"base": base, "added": whole - base, "image": whole}


def _base(folder: Path, image: str, mirror: str | None, binds: Sequence[str]) -> Path:
    """The stand-in for `python:X.Y-slim-RELEASE`; `folder`.json says that it is whole."""
    match = re.fullmatch(r"python:(\d+\.\d+)-slim-(\w+)", image)
    if match is None or match[1] not in PYTHON_OF:
        raise BuildError(
            f"the base must be python:X.Y-slim-RELEASE with X.Y of {list(PYTHON_OF)}, got {image}"
        )
    python, release = match.groups()
    stamp = folder.with_suffix(".json")
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == image:
        return folder
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    packages = "--include=ca-certificates"
    command = [
        "debootstrap",
        "--variant=minbase",
        packages,
        release,
        str(folder),
        *([mirror] if mirror else []),
    ]
    with open(folder.with_suffix(".log"), "w", encoding="utf-8") as log:
        _checked(command, stdout=log, stderr=log)
    # The headers alone: their package would bring a C library's, which is not in the real base either.
    script = f"""
        sed s/{release}/{PYTHON_OF[python]}/ /etc/apt/sources.list > /etc/apt/sources.list.d/python.list
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends python{python} python3-pip-whl >/dev/null
        cd /tmp && apt-get download -qq libpython{python}-dev && dpkg -x libpython{python}-dev_*.deb headers
        cp -a headers/usr/include/. /usr/include/
        rm -rf /tmp/* /var/lib/apt/lists/* /var/cache/apt/* /usr/lib/python{python}/EXTERNALLY-MANAGED
        rm /etc/apt/sources.list.d/python.list
        for name in python python3 python{python}; do ln -s /usr/bin/python{python} /usr/local/bin/$name; done
        printf '#!/bin/sh\\nexec python{python} %s/pip "$@"\\n' /usr/share/python-wheels/pip-*.whl > /usr/local/bin/pip
        chmod 755 /usr/local/bin/pip
    """
    _enter(
        Stage(folder), ["/bin/sh", "-euc", script], {"PATH": PATH, **_lent_variables()}, _lent_files(binds)
    )
    stamp.write_text(json.dumps(image), encoding="utf-8")
    return folder


def _enter(
    stage: Stage, command: Sequence[str], env: dict[str, str], binds: Sequence[str], check: bool = True
) -> int:
    """Runs a command in a stage, in namespaces of its own for mounts and processes: nothing stays behind."""
    both = [bind if ":" in bind else f"{bind}:{bind}" for bind in binds]
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    entered = [str(stage.folder), stage.user, stage.workdir, "\n".join(both), *command]
    return _checked([*namespaces, "/bin/sh", "-euc", ENTER, "enter", *entered], check=check, env=env)


def _checked(command: Sequence[str], check: bool = True, **options: object) -> int:
    done = subprocess.run(list(command), check=False, **options)  # type: ignore[call-overload]
    if check and done.returncode:
        raise BuildError(f"exit code {done.returncode} of: {shlex.join(command[-3:])}")
    return int(done.returncode)


def _copy(stage: Stage, words: list[str], stages: dict[str, Stage]) -> None:
    """`COPY [--from=STAGE] SOURCE... TARGET`; what comes from the repository passes .dockerignore."""
    options = [word for word in words if word.startswith("--")]
    *sources, target = (word for word in words if not word.startswith("--"))
    to = _inside(stage, target)
    if options:
        (option,) = options
        name, _, value = option.partition("=")
        if name != "--from":
            raise BuildError(f"this program does not know COPY {option}")
        to.mkdir(parents=True, exist_ok=True)  # a folder's content goes into what is there, as Docker has it
        _checked(["cp", "-a", "--reflink=auto", f"{_inside(stages[value], sources[0])}/.", str(to)])
        return
    for source in sources:
        for file in _files(source):
            inside = file.relative_to(ROOT / source)  # "." where the source is this file
            place = to / inside if inside.name else to / file.name if target.endswith("/") else to
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def _files(source: str) -> list[Path]:
    """The files of a source in the repository, less what .dockerignore leaves out."""
    rules = _ignore_rules(ROOT / ".dockerignore")
    found = sorted(path for path in (ROOT / source).rglob("*") if path.is_file()) or [ROOT / source]
    return [path for path in found if not _ignored(PurePosixPath(path.relative_to(ROOT)), rules)]


def _sources() -> str:
    """Digest of all that an image is made of: this program, the Dockerfile, and the files that it copies."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + DOCKERFILE.read_bytes())
    for word, rest in lines():
        if word == "COPY" and "--from=" not in rest:
            for file in [file for source in rest.split()[:-1] for file in _files(source)]:
                digest.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _ignore_rules(file: Path) -> list[tuple[bool, str]]:
    """The lines of a .dockerignore: whether the line takes back (`!`), and its pattern."""
    text = file.read_text(encoding="utf-8").splitlines()
    rules = [line.strip() for line in text if line.strip() and not line.startswith("#")]
    return [(rule.startswith("!"), rule.lstrip("!").rstrip("/")) for rule in rules]


def _ignored(path: PurePosixPath, rules: list[tuple[bool, str]]) -> bool:
    """Docker's rule: the last line that matches the path or a folder above it decides."""
    verdict = False
    for takes_back, pattern in rules:
        for each in (path, *list(path.parents)[:-1]):
            name, wanted = (each.name, pattern[3:]) if pattern.startswith("**/") else (str(each), pattern)
            if fnmatch.fnmatch(name, wanted):
                verdict = not takes_back
    return verdict


def _inside(stage: Stage, path: str) -> Path:
    return stage.folder / str(PurePosixPath(stage.workdir) / path).lstrip("/")


def _fresh_copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    _checked(["cp", "-a", "--reflink=auto", str(source), str(target)])


def _expand(text: str, values: dict[str, str]) -> str:
    return string.Template(text).safe_substitute(values)


def _lent_variables() -> dict[str, str]:
    """The package clients' settings; folders of this machine (`PIP_FIND_LINKS`) are not in the root."""
    lent = {name: value for name, value in os.environ.items() if LENT.match(name)}
    return {name: value for name, value in lent.items() if not Path(value).is_dir()}


def _lent_files(binds: Sequence[str]) -> list[str]:
    return [*binds, *([CERTIFICATES] if Path(CERTIFICATES).exists() else [])]


def _bytes(folder: Path) -> int:
    said = subprocess.run(["du", "-sb", str(folder)], stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(said.split()[0])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("build", "run", "size"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mirror", help="Debian's mirror; left out: debootstrap's own")
    parser.add_argument(
        "--bind", action="append", default=[], help="a host path, or HOST:INSIDE; may be repeated"
    )
    parser.add_argument("--env", action="append", default=[], help="NAME=value, for `run`; may be repeated")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    folder = chosen.folder.absolute()
    if chosen.action == "run":
        return run(folder, chosen.command, chosen.bind, chosen.env)
    if chosen.action == "size":
        print(json.dumps(size(folder)))
        return 0
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        print("needs root and debootstrap: apt-get install debootstrap", file=sys.stderr)
        return 1
    try:
        build(folder, chosen.mirror, chosen.bind)
    except BuildError as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
