"""The user, the network and the file system of a pod: uid 1000 without capabilities, and no other machine.

The image names the user by its number (deploy/Dockerfile), so that a namespace with the Pod Security Standard
"restricted" admits it. A network policy may leave a pod nothing but itself. A volume belongs to the pod's group
(`fsGroup`); what else the pod may write is its own. Linux: man 2 unshare, man 2 mount, man 7 capabilities.

    python pod_user.py FOLDER... -- COMMAND...       runs a command so; only root can start it
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

UID = 1000
_NEW_MOUNTS, _NEW_NETWORK = 0x20000, 0x40000000  # unshare: CLONE_NEWNS, CLONE_NEWNET
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000  # mount: MS_BIND, MS_REC, MS_PRIVATE
_SET_DUMPABLE, _NO_NEW_PRIVILEGES = 4, 38  # prctl
_SET_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter(folders: Sequence[str]) -> None:
    """Makes this process one of a pod, for good.

    Args:
      folders: what it must reach although it lies in folders that are root's alone, such as `/root`.

    Raises:
      OSError: it is not root's, or the machine does not allow namespaces.
    """
    _check(_LIBC.unshare(_NEW_MOUNTS | _NEW_NETWORK), "unshare")
    with socket.socket() as any_socket:  # the new loopback interface is down
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    here = os.getcwd()
    _mount("none", "/", None, _RECURSIVE | _PRIVATE)
    _show([Path(sys.base_prefix), Path(sys.prefix), *map(Path, folders)])
    os.chdir(here)
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _LIBC.prctl(_SET_DUMPABLE, 1, 0, 0, 0)  # a process that has changed its user cannot read its own /proc


def possible() -> bool:
    """Whether such a process can be started here."""
    command = [sys.executable, __file__, "--", sys.executable, "-c", ""]
    return 0 == subprocess.run(command, cwd="/", capture_output=True, check=False).returncode


def give(folder: Path) -> None:
    """Makes the pod's user the owner of all that is in a folder."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)


def _show(folders: list[Path]) -> None:
    """Puts an empty folder in the place of each one that is root's alone, with nothing but what must be reached."""
    closed: dict[Path, list[tuple[Path, int]]] = {}
    for folder in sorted({each.resolve() for each in folders}):
        above = next((each for each in reversed(folder.parents) if not each.stat().st_mode & 0o001), None)
        if above is not None:
            closed.setdefault(above, []).append((folder, os.open(folder, os.O_PATH)))
    for above, inside in closed.items():
        _mount("tmpfs", str(above), "tmpfs", 0, "mode=755")
        for folder, opened in inside:
            folder.mkdir(parents=True, exist_ok=True)
            _mount(f"/proc/self/fd/{opened}", str(folder), None, _BIND | _RECURSIVE)
            os.close(opened)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    given = (each if each is None else each.encode() for each in (source, target, kind))
    _check(_LIBC.mount(*given, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def _check(returned: int, what: str) -> None:
    if returned:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    end = sys.argv.index("--")
    enter(sys.argv[1:end])
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
