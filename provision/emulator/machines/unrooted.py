"""Runs a program as "nobody" inside a user namespace of its own: PostgreSQL refuses to run as root.

Called as a script (`python -I -S unrooted.py PROGRAM ARGUMENT...`), by `postgres.py`, because a process may only give
itself a namespace before it has threads. Seen from outside the program is still root, so no file changes its owner and
no user is made. https://man7.org/linux/man-pages/man7/user_namespaces.7.html
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
NOBODY = 65534
REFUSED = 71  # the exit code that says that this machine has no user namespaces for us (EX_OSERR)


def main(command: list[str]) -> None:
    """Become nobody in a new user namespace, then become `command`. Exits with REFUSED where that is forbidden."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.exit(REFUSED)
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{NOBODY} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{NOBODY} {group} 1", encoding="ascii")
    except OSError:
        sys.exit(REFUSED)
    os.execv(command[0], command)  # noqa: S606 - there is no shell; the command is a list that postgres.py wrote


if __name__ == "__main__":
    main(sys.argv[1:])
