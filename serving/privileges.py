"""What the server gives up when it starts: another user, new privileges, core dumps."""

import contextlib
import ctypes
import getpass
import os
import pwd
import resource
import sys

from noria.core.errors import ConfigError

_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of linux/prctl.h


def drop(user_name: str) -> None:
    """Becomes another user, if one is named; its processes inherit all this.

    No program that they start gains rights by its file (setuid), and no core dump writes keys or requests to a disk.

    Raises:
      ConfigError: there is no such user, or this one may not become another.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if user_name:
        try:
            found = pwd.getpwnam(user_name)
            if found.pw_uid != os.geteuid():
                os.initgroups(user_name, found.pw_gid)
                os.setgid(found.pw_gid)
                os.setuid(found.pw_uid)
        except KeyError:
            raise ConfigError(
                f"there is no user {user_name}", next_step="name another one by --user"
            ) from None
        except PermissionError as error:
            raise ConfigError(
                f"only root can become {user_name}", next_step="start the server as this user, without --user"
            ) from error
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def user() -> str:
    """Who this process is."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid()) or getpass.getuser()
