"""A manager's socket in hostile hands: whatever strangers do there, the manager goes on serving who knows the key."""

from __future__ import annotations

import array
import os
import pickle
import resource
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from multiprocessing import connection, forkserver, process, resource_tracker
from multiprocessing.managers import dispatch
from pathlib import Path

import pytest
from support.waiting import LONG_S, wait_until

import cmp
import cmp.server


def stranger(manager) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(manager.address)
    sock.settimeout(LONG_S)  # not before: a full backlog has to be waited for
    return sock


def friend(manager):
    return connection.Client(manager.address, authkey=process.current_process().authkey)


def serves(manager) -> bool:
    """A whole round: a new object, a call over the socket, a call in shared memory."""
    queue, numbers = manager.Queue(), manager.list([1])
    queue.put(numbers[0])
    return queue.get(timeout=LONG_S) == 1


def threads(manager) -> int:
    return len(os.listdir(f"/proc/{manager._process.pid}/task"))


def descriptors(manager) -> int:
    return len(os.listdir(f"/proc/{manager._process.pid}/fd"))


def at_most(before: Sequence[int], *now: int) -> bool:
    return all(n <= b for n, b in zip(now, before, strict=True))


def message(body: bytes) -> bytes:
    return struct.pack("!i", len(body)) + body


@pytest.fixture
def manager():
    with cmp.Manager() as manager:
        assert serves(manager)
        yield manager


@pytest.fixture
def impatient(monkeypatch):
    """A manager with a narrow door."""
    monkeypatch.setattr(cmp.server.Door, "MOST", 8)
    monkeypatch.setattr(cmp.server.Door, "GRACE_S", 0.05)
    with cmp.Manager() as manager:
        assert serves(manager)
        yield manager


def hear_out(sock: socket.socket) -> None:
    """What the server says, up to the end."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass


class Trap:
    """Its unpickling makes a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


SAYINGS = {
    "nothing": b"",
    "garbage": os.urandom(300),
    "zeros": bytes(5000),
    "half a length": b"\0\0",
    "half a message": message(b"#CHALLENGE#" + bytes(20))[:9],
    "a length of 2 GiB": struct.pack("!i", 2**31 - 1) + bytes(100),
    "a length of 2^63": struct.pack("!iQ", -1, 2**63) + bytes(100),
    "an answer that is wrong": message(b"{sha256}" + bytes(32)),
    "a long answer": message(bytes(257)),
    "the server's own words": message(b"#WELCOME#") * 3,
}


@pytest.mark.parametrize("what", SAYINGS)
@pytest.mark.parametrize("then", ["closes", "keeps silent"])
def test_others_are_served_whatever_a_stranger_says(manager, what, then):
    before = threads(manager), descriptors(manager)
    with ExitStack() as strangers:
        for _ in range(5):
            sock = strangers.enter_context(stranger(manager))
            sock.sendall(SAYINGS[what])
            if then == "closes":
                sock.close()
        assert serves(manager)
    wait_until(lambda: at_most(before, threads(manager), descriptors(manager)))


def test_a_length_beyond_reason_before_authentication_is_refused_at_once(manager):
    with stranger(manager) as sock:
        sock.recv(300)  # the challenge
        sock.sendall(struct.pack("!iQ", -1, 2**40))
        hear_out(sock)
    assert serves(manager)


def test_nothing_is_unpickled_before_authentication(manager, tmp_path):
    trap = tmp_path / "sprung"
    body = pickle.dumps(Trap(str(trap)))
    assert len(body) <= 256
    with stranger(manager) as sock:
        sock.sendall(message(body))
        hear_out(sock)
    assert serves(manager)
    assert not trap.exists()
    with closing(friend(manager)) as conn:  # the same from a friend
        conn.send_bytes(body)
        assert conn.recv()[0] == "#TRACEBACK"
    assert trap.exists()


def test_those_who_never_authenticate_do_not_pile_up(impatient):
    before = threads(impatient), descriptors(impatient)
    with ExitStack() as strangers:
        for number in range(60):
            sock = strangers.enter_context(stranger(impatient))
            sock.sendall(b"\0\0\1\0"[: number % 5])
            if number % 20 == 19:
                assert serves(impatient)
        assert serves(impatient)
        most = [number + cmp.server.Door.MOST + 2 for number in before]
        wait_until(lambda: at_most(most, threads(impatient), descriptors(impatient)))
    wait_until(lambda: at_most(before, threads(impatient), descriptors(impatient)))


def test_a_peer_of_one_byte_now_and_then_is_turned_out(impatient):
    with ExitStack() as strangers:
        slow = strangers.enter_context(stranger(impatient))
        slow.recv(300)
        slow.sendall(b"\0\0\0\x40")
        for _ in range(cmp.server.Door.MOST):
            strangers.enter_context(stranger(impatient))
        slow.settimeout(0.01)
        deadline = time.monotonic() + LONG_S
        with pytest.raises(ConnectionError):
            while time.monotonic() < deadline:
                slow.sendall(b"x")
                try:
                    if not slow.recv(1):
                        raise ConnectionError
                except TimeoutError:
                    pass
        assert serves(impatient)


def test_friends_are_not_counted_among_strangers(impatient):
    with ExitStack() as friends:
        for number in range(3 * cmp.server.Door.MOST):
            conn = friends.enter_context(closing(friend(impatient)))
            dispatch(conn, None, "accept_connection", (str(number),))
        assert serves(impatient)


def test_thousands_of_connections_leave_nothing(manager):
    before = threads(manager), descriptors(manager)
    for _ in range(2000):
        stranger(manager).close()
    assert serves(manager)
    wait_until(lambda: at_most(before, threads(manager), descriptors(manager)))


def test_descriptors_that_a_stranger_sends_are_not_kept(manager):
    reading, writing = os.pipe()
    before = descriptors(manager)
    with stranger(manager) as sock:
        rights = array.array("i", [writing] * 50)
        for _ in range(4):
            sock.sendmsg([b"\0\0\1\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        assert serves(manager)
        wait_until(lambda: descriptors(manager) <= before + 1)  # the stranger's socket
    os.close(writing)
    os.set_blocking(reading, False)
    wait_until(lambda: os.read(reading, 1) == b"")  # its end: nobody has the other one
    os.close(reading)


@pytest.mark.parametrize("half", [b"\0\0", struct.pack("!i", 1000) + b"x" * 10, struct.pack("!iQ", -1, 2**62) + b"x"])
def test_a_friend_s_half_message_holds_nobody_up(manager, half):
    before = threads(manager)
    with closing(friend(manager)) as conn, closing(friend(manager)) as served:
        dispatch(served, None, "accept_connection", ("half",))
        for peer in (conn, served):
            os.write(peer.fileno(), half)
        assert serves(manager)
    wait_until(lambda: threads(manager) <= before)


def test_peers_that_vanish_before_their_reply_leave_nothing(manager):
    numbers = manager.list([bytes(1 << 20)])
    assert len(numbers) == 1  # this thread's connection, which stays
    before = threads(manager)
    for _ in range(10):
        with closing(friend(manager)) as conn:
            dispatch(conn, None, "accept_connection", ("hasty",))
            conn.send((numbers._id, "__getitem__", (0,), {}))
    assert serves(manager)
    wait_until(lambda: threads(manager) <= before)


def limit_descriptors(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def test_without_descriptors_a_client_gets_an_error_and_afterwards_service():
    manager = cmp.managers.SyncManager()
    manager.start(limit_descriptors, (40,))
    with manager, ExitStack() as friends:
        with pytest.raises((EOFError, OSError)):
            for number in range(60):
                conn = friends.enter_context(closing(friend(manager)))
                dispatch(conn, None, "accept_connection", (str(number),))
        friends.close()
        wait_until(lambda: descriptors(manager) < 30)
        assert serves(manager)


def refuse_threads(count: int) -> None:
    start = threading.Thread.start
    left = [count]

    def refuse(thread):
        if threading.current_thread().name.endswith("(accepter)") and left[0] > 0:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    threading.Thread.start = refuse


def test_without_threads_a_client_gets_an_error_and_afterwards_service():
    manager = cmp.managers.SyncManager()
    manager.start(refuse_threads, (3,))
    with manager:
        for _ in range(3):
            with pytest.raises((EOFError, ConnectionError)):
                friend(manager)
        assert serves(manager)


def as_nobody(attempt) -> str:
    """What attempt() comes to as another user: the name of its exception."""
    ours, theirs = cmp.Pipe(duplex=False)

    def child():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            theirs.send(repr(attempt()))
        except Exception as error:  # noqa: BLE001
            theirs.send(type(error).__name__)

    other = cmp.Process(target=child)
    other.start()
    theirs.close()
    with ours:
        said = ours.recv()
    other.join(LONG_S)
    return said


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_reaches_neither_sockets_nor_memory(manager):
    queue = manager.Queue()
    queue.put("secret")
    server = manager._process.pid
    memory = [fd for fd in os.listdir(f"/proc/{server}/fd") if "memfd" in os.readlink(f"/proc/{server}/fd/{fd}")]
    assert memory, "the manager has memory to protect"
    assert as_nobody(os.getuid) == "65534"
    assert as_nobody(lambda: connect(manager.address)) == "PermissionError"
    assert as_nobody(lambda: os.listdir(os.path.dirname(manager.address))) == "PermissionError"
    for name in ("fd", "map_files", "environ", "mem"):
        assert as_nobody(lambda name=name: read_any(f"/proc/{server}/{name}")) == "PermissionError"
    for fd in memory:
        assert as_nobody(lambda fd=fd: os.open(f"/proc/{server}/fd/{fd}", os.O_RDWR)) == "PermissionError"
    assert as_nobody(lambda: os.kill(server, 0)) == "PermissionError"
    assert queue.get() == "secret"


def read_any(path: str) -> object:
    return os.listdir(path) if os.path.isdir(path) else Path(path).read_bytes()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_reaches_neither_forkserver_nor_tracker():
    context = cmp.get_context("forkserver")
    child = context.Process(target=os.getpid)
    child.start()
    child.join(LONG_S)
    address = forkserver._forkserver._forkserver_address
    assert as_nobody(lambda: connect(address)) == "PermissionError"
    for pid in (forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid):
        assert as_nobody(lambda pid=pid: os.listdir(f"/proc/{pid}/fd")) == "PermissionError"


def test_socket_folders_are_their_owner_s_alone(manager):
    assert os.stat(os.path.dirname(manager.address)).st_mode & 0o777 == 0o700
    assert os.path.dirname(manager.address).startswith(tempfile.gettempdir())
    os.kill(manager._process.pid, signal.SIGCONT)  # it is there
