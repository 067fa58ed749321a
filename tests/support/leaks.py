"""What a test must not leave behind: child processes, descriptors of this process, files in /dev/shm."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import time
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

# A killed or terminated child is gone milliseconds after the test asked for it; this is for a loaded machine.
PATIENCE_S = 5.0
# Two servers that the stdlib starts on first use and keeps until the interpreter ends, and the arenas of its
# heap (Value, Array), which it keeps for the next user.
LASTING_SERVERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
LASTING_FILES = "/dev/shm/pym-"


def take_a_shm_of_our_own() -> bool:
    """Hides the machine's /dev/shm behind an empty one that this process and its children alone see, so that files of
    other programs are not taken for ours. Needs the right to mount; without it things stay as they are."""
    newns, private, recursive = 0x00020000, 1 << 18, 1 << 14
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not Path("/dev/shm").is_dir() or libc.unshare(newns) != 0:
            return False
        own = libc.mount(b"none", b"/", None, ctypes.c_ulong(private | recursive), None) == 0
        return own and libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(0), None) == 0
    except (OSError, AttributeError):
        return False


def children() -> set[tuple[int, str]]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except OSError:  # the thread has just ended
            continue
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                command = ""
            if not any(server in command for server in LASTING_SERVERS):
                found.add((int(pid), command.strip()))
    return found


def descriptors() -> set[tuple[int, str]]:
    lasting = {
        getattr(resource_tracker._resource_tracker, "_fd", None),
        getattr(forkserver._forkserver, "_forkserver_alive_fd", None),
    }
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of the listing itself
            continue
        if int(name) not in lasting and not target.startswith(LASTING_FILES):
            found.add((int(name), target))
    return found


def shared_files() -> set[str]:
    """Files only: semaphores and segments are files, while a folder is some other program's temporary one."""
    folder = Path("/dev/shm")
    return {entry.name for entry in os.scandir(folder) if entry.is_file()} if folder.is_dir() else set()


def kill_children(since: Snapshot) -> None:
    """Ends and reaps the children that are new."""
    for pid, _ in children() - since.before["child process"]:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


class Snapshot:
    """The state before a test; left_over() names what is new since, once whatever is ending has ended."""

    def __init__(self) -> None:
        self.before = self._look()

    @staticmethod
    def _look() -> dict[str, set]:
        multiprocessing.active_children()  # reaps
        return {"child process": children(), "descriptor": descriptors(), "file in /dev/shm": shared_files()}

    def left_over(self, patience: float = PATIENCE_S) -> list[str]:
        deadline = time.monotonic() + patience
        while True:
            now = self._look()
            new = [f"{kind}: {what}" for kind in now for what in sorted(now[kind] - self.before[kind])]
            if not new or time.monotonic() > deadline:
                return new
            gc.collect()  # a queue in a reference cycle still has its descriptors
            time.sleep(0.01)
