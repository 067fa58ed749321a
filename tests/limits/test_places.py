"""Machines without /dev/shm, with a full one, with a /tmp that is full or cannot be written to, with a /proc that hides
strangers, with processes in a pid namespace of their own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from support import alone, works

import cmp

NEWPID = 0x20000000
NEWNS, PRIVATE, RECURSIVE, BIND, REMOUNT, READ_ONLY = 0x00020000, 1 << 18, 1 << 14, 1 << 12, 1 << 5, 1
libc = ctypes.CDLL(None, use_errno=True)


def unshare() -> bool:
    return libc.unshare(NEWNS) == 0 and libc.mount(b"none", b"/", None, ctypes.c_ulong(PRIVATE | RECURSIVE), None) == 0


def mount(source: str, place: str, options: str, flags: int, kind: bytes = b"tmpfs") -> None:
    if libc.mount(source.encode(), place.encode(), kind, ctypes.c_ulong(flags), options.encode()) != 0:
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


def take_a_lock_held_elsewhere(become) -> None:
    """A child that `become` has made a stranger waits for the lock of its living parent, long enough to doubt it."""
    lock, order = cmp.Lock(), cmp.Queue()

    def child() -> None:
        become()
        order.put("waits")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with lock:
                order.put("has it")

    process = cmp.Process(target=child, daemon=True)
    with lock:
        process.start()
        assert order.get(timeout=100) == "waits"
        time.sleep(1.2)
        order.put("lets go")
    assert [order.get(timeout=100), order.get(timeout=100)] == ["lets go", "has it"]
    process.join(100)
    assert process.exitcode == 0


def give_up_root() -> None:
    os.setgid(65534)
    os.setuid(65534)
    assert cmp.parent_process().is_alive()


def with_hidden_strangers() -> None:
    assert unshare()
    mount("proc", "/proc", "hidepid=2", 0, b"proc")
    take_a_lock_held_elsewhere(give_up_root)


def with_children_in_a_namespace() -> None:
    assert libc.unshare(NEWPID) == 0
    take_a_lock_held_elsewhere(lambda: None)


def can_mount() -> bool:
    program = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x20000) != 0)"
    return os.geteuid() == 0 and subprocess.run([sys.executable, "-c", program]).returncode == 0


SCENES = [
    without_shm,
    with_full_shm,
    with_full_tmp,
    with_nowhere_to_write,
    with_hidden_strangers,
    with_children_in_a_namespace,
]


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
@pytest.mark.parametrize("scene", SCENES)
def test_everything_works(scene):
    alone.run(scene)
