"""Shared memory that another process created: looking at it does not put it at risk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from multiprocessing import resource_tracker

import pytest
from support import alone
from support.places import child_environment
from support.waiting import LONG_S

from cmp import shared_memory


def stranger(code: str, *arguments: str) -> str:
    """Runs code in a process that is no child of multiprocessing's, and gives what it says on stderr."""
    program = f"import sys\nfrom cmp.shared_memory import SharedMemory, ShareableList\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
        env=child_environment(),
    )
    return done.stderr


@pytest.fixture
def memory():
    memory = shared_memory.SharedMemory(create=True, size=64)
    yield memory
    memory.close()
    try:
        memory.unlink()
    except FileNotFoundError:  # the test did
        pass


def test_memory_outlives_a_stranger_that_looked_at_it(memory):
    assert stranger("memory = SharedMemory(sys.argv[1]); memory.buf[0] = 7", memory.name) == ""
    assert memory.buf[0] == 7
    shared_memory.SharedMemory(memory.name).close()  # its name is still there


def test_list_outlives_a_stranger_that_looked_at_it():
    numbers = shared_memory.ShareableList([1, 2, 3])
    assert stranger("ShareableList(name=sys.argv[1])[0] = 7", numbers.shm.name) == ""
    assert list(numbers) == [7, 2, 3]
    numbers.shm.close()
    numbers.shm.unlink()


def test_stranger_may_unlink_it_without_complaints(memory):
    assert stranger("SharedMemory(sys.argv[1]).unlink()", memory.name) == ""
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(memory.name)
    assert stranger("SharedMemory(name='x' + sys.argv[1], create=True, size=9).unlink()", memory.name) == ""


def test_stranger_that_tracks_it_destroys_it(memory):
    assert "leaked shared_memory" in stranger("SharedMemory(sys.argv[1], track=True)", memory.name)
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(memory.name)


def test_who_creates_is_tracked():
    said = stranger("memory = SharedMemory(create=True, size=9); print(memory.name, file=sys.stderr)")
    assert "leaked shared_memory" in said
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(said.split()[0])


def test_attaching_that_fails_leaves_the_next_creator_tracked():
    code = """
try:
    SharedMemory('not there')
except FileNotFoundError:
    memory = SharedMemory(create=True, size=9)"""
    assert "leaked shared_memory" in stranger(code)


def fork_while_a_thread_has_the_tracker() -> None:
    """In a program that knows no other part of cmp."""
    thread = threading.Thread(target=resource_tracker._resource_tracker._lock.acquire)
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        signal.alarm(LONG_S)
        mine = shared_memory.SharedMemory(create=True, size=1)
        mine.close()
        mine.unlink()
        resource_tracker._resource_tracker._stop()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_child_forked_while_a_thread_starts_the_tracker_has_shared_memory():
    alone.run(fork_while_a_thread_has_the_tracker)
