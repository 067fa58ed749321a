"""A sandbox that does not know some system calls: a seccomp filter, for this process's life and its children's."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

import pytest

# Where both machines have no number in common (calls before 424), x86-64's and then aarch64's.
_NUMBERS = {
    "madvise": (28, 233),
    "fallocate": (285, 47),
    "eventfd2": (290, 19),
    "prctl": (157, 167),
    "sched_yield": (24, 124),
    "getcpu": (309, 168),
    "sched_getaffinity": (204, 123),
    "memfd_create": (319, 279),
    "process_vm_readv": (310, 270),
    "membarrier": (324, 283),
    "rseq": (334, 293),
    "pwrite64": (18, 68),
    "epoll_create1": (291, 20),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "pidfd_getfd": (438, 438),
    "futex_waitv": (449, 449),
}
_MACHINES = {"x86_64": 0, "aarch64": 1}

_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_SET_NO_NEW_PRIVS, _GET_SECCOMP, _SET_SECCOMP, _MODE_FILTER = 38, 21, 22, 2


def need() -> None:
    """A skip where filters cannot be made."""
    if platform.machine() not in _MACHINES:
        pytest.skip(f"no numbers of system calls for {platform.machine()}")
    if ctypes.CDLL(None).prctl(_GET_SECCOMP, 0, 0, 0, 0) < 0:
        pytest.skip("this kernel has no filters")


def refuse(error: int, *calls: str) -> None:
    """From here on these calls fail with the errno, in every thread that is started later, every child and program."""
    machine = _MACHINES[platform.machine()]
    code = [struct.pack("HBBI", _LOAD, 0, 0, 0)]  # the number of the call
    for i, call in enumerate(calls):
        code.append(struct.pack("HBBI", _IF_EQUAL, len(calls) - i, 0, _NUMBERS[call][machine]))
    code.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    code.append(struct.pack("HBBI", _RETURN, 0, 0, _REFUSE | error))
    program = ctypes.create_string_buffer(b"".join(code))
    filter_ = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value, pointer in ((_SET_NO_NEW_PRIVS, 1, None), (_SET_SECCOMP, _MODE_FILTER, filter_)):
        if libc.prctl(option, value, pointer, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl", errno.errorcode.get(ctypes.get_errno()))
