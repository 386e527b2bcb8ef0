"""Linux namespaces of our own: what is mounted goes with us, and no network but loopback is reached or reaches us."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def own_mounts() -> None:
    """From here on what is mounted is seen by us and our children alone.

    Raises:
        OSError: we may not.
    """
    _unshare(_CLONE_NEWNS)
    _checked(ctypes.CDLL(None, use_errno=True).mount(b"none", b"/", None, _MS_REC_PRIVATE, None))


def own_loopback() -> None:
    """From here on there is a loopback interface of our own and no other network.

    Raises:
        OSError: we may not.
    """
    _unshare(_CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # netdevice(7): struct ifreq, the name and the flags.
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def _unshare(flags: int) -> None:
    _checked(ctypes.CDLL(None, use_errno=True).unshare(flags))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
