"""Workers of a fork server that is killed: each task has its outcome, whatever the server had told of who ran it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
from multiprocessing import connection, forkserver, reduction, resource_tracker
from pathlib import Path

import pytest
from support import alone
from support.waiting import wait_until

import cmp
from cmp.pool import WorkerLostError

PATIENCE_S = 100

# Loaded by the server. Where the folder has a file "untold", the server is killed before it tells of the next child
# that it has forked, and SIGUSR1 has it end as the kernel ends a process that was killed: its descriptors go first, and
# its children hear of it later. Both times a worker has begun a task in between.
SERVER = """
import os, signal, time
from multiprocessing import forkserver
from pathlib import Path

folder = Path({folder!r})
tell = forkserver.write_signed

def begin():
    (folder / "begun").touch()
    signal.pause()

def end():
    while not (folder / "begun").exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)

def tell_or_end(fd, number):
    if number > 0 and (folder / "untold").exists():
        (folder / "untold").unlink()
        end()
    tell(fd, number)

def give_up_descriptors(number, frame):
    while "pid_to_fd" not in frame.f_locals:
        frame = frame.f_back
    for fd in frame.f_locals["pid_to_fd"].values():
        os.close(fd)
    end()

forkserver.write_signed = tell_or_end
signal.signal(signal.SIGUSR1, give_up_descriptors)
"""


@pytest.fixture
def server(tmp_path):
    (tmp_path / "dying_server.py").write_text(SERVER.format(folder=str(tmp_path)))
    return {"PYTHONPATH": str(tmp_path)}


def pool_of_one():
    context = cmp.get_context("forkserver")
    context.set_forkserver_preload(["dying_server"])
    pool = context.Pool(1)
    pool.apply(abs, (-1,))
    return pool, pool._pool[0]


def lose_task(pool) -> WorkerLostError:
    import dying_server  # noqa: PLC0415 - the test's own, in its folder

    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    lost = pool.apply_async(dying_server.begin)
    try:
        return lost.get(PATIENCE_S)
    except WorkerLostError as error:
        return error


def worker_that_was_not_told_of(folder: str) -> None:
    pool, worker = pool_of_one()
    with pool:
        Path(folder, "untold").touch()
        worker.kill()
        worker.join()
        error = lose_task(pool)
        assert (error.pid, error.exitcode) == (None, 255) and str(error).startswith("a worker exited with code 255")
        assert pool.apply_async(abs, (-2,)).get(PATIENCE_S) == 2


def worker_that_ends_after_its_server(_: str) -> None:
    pool, worker = pool_of_one()
    with pool:
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGUSR1)
        connection.wait([worker.sentinel])
        assert worker.exitcode is None, "it still runs"
        worker.join(0.01)
        assert worker.exitcode is None, "it still runs"
        error = lose_task(pool)
        assert (error.pid, error.exitcode) == (worker.pid, 255)
        assert pool.apply_async(abs, (-2,)).get(PATIENCE_S) == 2


@pytest.mark.parametrize("scene", [worker_that_was_not_told_of, worker_that_ends_after_its_server])
def test_task_of_a_worker_whose_fork_server_was_killed_is_lost_and_said_to_be(scene, server, tmp_path):
    alone.run(scene, str(tmp_path), env=server)


def by_a_process() -> int:
    other = cmp.get_context("fork").Process(target=signal.pause)
    other.start()
    return other.pid


def by_hand() -> int:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def lose_one_whose_pipe_another_might_have(way):
    """A thread forks the other just while the server is asked for the one, if it can."""
    send, others = reduction.sendfds, []
    starter = threading.Thread(target=lambda: others.append(globals()[way]()))
    one = cmp.get_context("forkserver").Process(target=signal.pause, daemon=True)

    def start_and_send(*args):
        starter.start()
        starter.join(0.3)
        send(*args)

    reduction.sendfds = start_and_send
    one.start()
    starter.join()
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    one.join(PATIENCE_S)
    assert one.exitcode is not None
    os.kill(others[0], signal.SIGKILL)
    os.waitpid(others[0], 0)


@pytest.mark.parametrize("way", [by_a_process, by_hand])
def test_death_of_a_server_is_heard_though_processes_were_forked_while_it_was_asked(way):
    alone.run(lose_one_whose_pipe_another_might_have, way.__name__)


def lose_the_server_of_one_that_starts_as_another_is_forked():
    """The one is never told of: who asked for it sees the end of its pipe, if nobody else has it."""
    others = []
    starter = threading.Thread(target=lambda: others.append(by_hand()))
    one = cmp.get_context("forkserver").Process(target=signal.pause, daemon=True)
    forkserver.ensure_running()
    server = forkserver._forkserver._forkserver_pid

    def start_and_lose(sock, fds):
        """As sendfds, which from 3.14 on waits for an answer."""
        starter.start()
        starter.join(0.3)
        os.kill(server, signal.SIGSTOP)
        socket.send_fds(sock, [bytes([len(fds)])], fds)
        os.kill(server, signal.SIGKILL)

    reduction.sendfds = start_and_lose
    try:
        one.start()
    except (EOFError, OSError):
        pass
    else:
        raise AssertionError("it cannot have been started")
    starter.join()
    os.kill(others[0], signal.SIGKILL)
    os.waitpid(others[0], 0)


def test_start_ends_with_its_server_though_a_process_was_forked_by_hand_meanwhile():
    alone.run(lose_the_server_of_one_that_starts_as_another_is_forked)


BLOCKED = signal.pthread_sigmask, (signal.SIG_BLOCK, ())


def lose_tracker_server_and_workers(pool) -> set[int]:
    """All are started again by the thread that replaces the workers, and takes no signals itself. What the new worker
    does not take."""
    resource_tracker.ensure_running()
    victims = [resource_tracker._resource_tracker._pid, forkserver._forkserver._forkserver_pid, pool._pool[0].pid]
    for pid in victims:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # a worker may have gone with its server already
                os.kill(pid, signal.SIGKILL)
    while True:
        try:
            return pool.apply(*BLOCKED)
        except WorkerLostError:  # the first one may go to who is just being killed
            pass


def lose_one_after_the_others(method):
    with cmp.get_context(method).Pool(1) as pool:
        assert pool.apply(*BLOCKED) == set()
        assert lose_tracker_server_and_workers(pool) == set()
        result = pool.apply_async(os._exit, (3,))
        try:
            result.get(PATIENCE_S)
        except WorkerLostError:
            return
        raise AssertionError("it was not lost")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_take_signals_and_their_server_hears_of_them_after_the_tracker_was_killed(method):
    alone.run(lose_one_after_the_others, method)


def blocks(thread: threading.Thread, number: signal.Signals) -> bool:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(re.search(r"^SigBlk:\s*(\w+)", status, re.MULTILINE)[1], 16) >> number - 1 & 1 == 1


def look_at_who_replaces(method):
    with cmp.get_context(method).Pool(1) as pool:
        lose_tracker_server_and_workers(pool)
        (supervisor,) = [thread for thread in threading.enumerate() if thread.name == "cmp-pool-supervisor"]
        wait_until(lambda: blocks(supervisor, signal.SIGINT) and blocks(supervisor, signal.SIGTERM))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_who_replaces_workers_takes_no_signals_after_the_tracker_was_killed(method):
    """Which are for a thread of the program that waits for them by sigwait()."""
    alone.run(look_at_who_replaces, method)
