"""Machines without /dev/shm, with a full one, with a /tmp that is full or cannot be written to: mount namespaces."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import alone, works

NEWNS, PRIVATE, RECURSIVE, BIND, REMOUNT, READ_ONLY = 0x00020000, 1 << 18, 1 << 14, 1 << 12, 1 << 5, 1
libc = ctypes.CDLL(None, use_errno=True)


def unshare() -> bool:
    return libc.unshare(NEWNS) == 0 and libc.mount(b"none", b"/", None, ctypes.c_ulong(PRIVATE | RECURSIVE), None) == 0


def mount(source: str, place: str, options: str, flags: int) -> None:
    if libc.mount(source.encode(), place.encode(), b"tmpfs", ctypes.c_ulong(flags), options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {place}")


def cover(place: str, options: str = "", flags: int = 0) -> None:
    """Mounts an empty file system there. What runs here stays in its place, should that be below."""
    wanted = [os.path.realpath(path) for path in (Path(works.__file__).parents[2], sys.prefix, sys.base_prefix)]
    kept = {path: os.open(path, os.O_PATH) for path in wanted if path.startswith(place + "/")}
    mount("tmpfs", place, options, 0)
    for path, descriptor in kept.items():
        if not os.path.isdir(path):  # nor in one that is back already
            os.makedirs(path)
            mount(f"/proc/self/fd/{descriptor}", path, "", BIND | RECURSIVE)
        os.close(descriptor)
    if flags:
        mount("tmpfs", place, options, REMOUNT | flags)


def do_everything(but: tuple[str, ...] = ()) -> None:
    for name, work in works.WORKS.items():
        if name not in but:
            print(name, file=sys.stderr, flush=True)
            work()


# The stdlib's heap, of which Value is, keeps its arenas in a file.
STDLIBS_FILES = ("value",)


def without_shm() -> None:
    assert unshare()
    cover("/dev/shm", "", READ_ONLY)
    do_everything(but=STDLIBS_FILES)


def with_full_shm() -> None:
    assert unshare()
    cover("/dev/shm", "size=4k")
    try:
        Path("/dev/shm/full").write_bytes(bytes(5000))
    except OSError:
        pass
    do_everything()


def with_full_tmp() -> None:
    assert unshare()
    cover("/tmp", "size=4k,nr_inodes=64")
    cover("/dev/shm", "size=4k")
    for place in ("/tmp/full", "/dev/shm/full"):
        try:
            Path(place).write_bytes(bytes(5000))
        except OSError:
            pass
    os.environ["TMPDIR"] = "/tmp"
    do_everything(but=STDLIBS_FILES)


def with_nowhere_to_write() -> None:
    """Only a manager, whose socket needs a folder, cannot be had."""
    assert unshare()
    for place in ("/tmp", "/dev/shm", "/var/tmp", "/usr/tmp"):
        if os.path.isdir(place):
            cover(place, "", READ_ONLY)
    os.chdir("/proc")
    do_everything(but=(*STDLIBS_FILES, "manager"))
    with alone.NothingLeft():
        try:
            works.manager()
        except (OSError, EOFError):  # EOFError: as the stdlib says that a manager did not begin
            pass
        else:
            raise AssertionError("a socket without a folder")


def can_mount() -> bool:
    program = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x20000) != 0)"
    return os.geteuid() == 0 and subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
@pytest.mark.parametrize("scene", [without_shm, with_full_shm, with_full_tmp, with_nowhere_to_write])
def test_everything_works(scene):
    alone.run(scene)
