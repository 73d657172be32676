"""Where the socket of what is served lies: a folder of this user alone, in it a name made of what is served.

The name of a Unix socket has about a hundred bytes, and a folder that is served may not be there yet, or be
replaced as a whole. So the socket never lies in that folder; its path only gives the socket its name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import stat
import struct
import tempfile
import time
from pathlib import Path
from typing import Final

__all__ = ["is_served", "own_folder", "peer_uid", "socket_of", "sweep"]

_SUFFIX: Final = ".socket"
_DIGEST_CHARS: Final = 24
# A socket is bound for a moment before it listens; until then it looks like one that was left behind.
_STALE_AFTER_S: Final = 60.0
_PROBE_S: Final = 1.0
_SWEPT_MAX: Final = 64


def own_folder() -> Path:
    """The folder of this user's sockets, made if need be.

    Raises:
        OSError: it belongs to somebody else, or others may enter it.
    """
    folder = Path(tempfile.gettempdir()) / f"actors-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(errno.EPERM, "is not a folder that only this user may enter", str(folder))
    return folder


def socket_of(path: Path | str) -> Path:
    """The socket through which whatever lies, or will lie, at `path` is looked at.

    Raises:
        OSError: as `own_folder`.
    """
    whole = os.fsencode(Path(path).resolve())
    return own_folder() / f"{hashlib.sha256(whole).hexdigest()[:_DIGEST_CHARS]}{_SUFFIX}"


def is_served(path: Path) -> bool:
    """Whether a process listens at a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except TimeoutError:
            return True  # its queue is full
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def sweep(folder: Path) -> None:
    """Remove sockets of processes that were killed."""
    with contextlib.suppress(OSError):
        for path in list(folder.glob(f"*{_SUFFIX}"))[:_SWEPT_MAX]:
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > _STALE_AFTER_S and not is_served(path):
                    path.unlink()


def peer_uid(connection: socket.socket) -> int | None:
    """The user of whoever is at the other end; None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
