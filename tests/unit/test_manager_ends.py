"""How managers start and end, whatever meets them then: interrupts, deaths, processes that stand still."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import tempfile
import threading
from multiprocessing import connection, process

import pytest
from support.waiting import LONG_S, state_of, wait_until

import cmp
import cmp.clients
from cmp.managers import ListProxy, SyncManager, Token


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """What managers leave of the folders that they make for their sockets."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(process.current_process()._config, "tempdir", None)
    return lambda: os.listdir(tmp_path)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_manager_that_dies_as_it_starts_is_an_error():
    manager = cmp.managers.SyncManager()
    with pytest.raises(EOFError):
        manager.start(die)
    manager._process.join(LONG_S)


class Interrupted(BaseException):
    pass


@pytest.fixture
def interrupted():
    """with interrupted: what is done in there is interrupted soon."""

    @contextlib.contextmanager
    def soon():
        with pytest.raises(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            yield

    def interrupt(*_):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    yield soon()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def test_a_manager_whose_start_is_interrupted_is_ended(interrupted):
    manager = cmp.managers.SyncManager()
    with interrupted:
        manager.start(signal.pause)
    assert not manager._process.is_alive()


def test_a_manager_whose_shutdown_is_interrupted_is_ended(interrupted, folders):
    manager = cmp.managers.SyncManager(shutdown_timeout=LONG_S)
    manager.start()
    os.kill(manager._process.pid, signal.SIGSTOP)
    with interrupted:
        manager.shutdown()
    assert not manager._process.is_alive()
    assert folders() == []


@pytest.mark.parametrize("signs", [[signal.SIGSTOP], [signal.SIGSTOP, signal.SIGTERM]])
def test_shutdown_ends_a_manager_that_stands_still(signs, folders):
    manager = cmp.managers.SyncManager(shutdown_timeout=0.2)
    manager.start()
    pid = manager._process.pid
    for sign in signs:
        os.kill(pid, sign)
    manager.shutdown()
    assert state_of(pid) == "X"
    assert folders() == []


def ignore_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Timer(3600, print).start()  # not a daemon: the process waits for it when it ends


def test_shutdown_ends_a_manager_that_does_not_want_to():
    manager = cmp.managers.SyncManager(shutdown_timeout=0.2)
    manager.start(ignore_sigterm)
    pid = manager._process.pid
    manager.shutdown()
    assert state_of(pid) == "X"


def test_shutdown_ends_among_stopped_and_killed_clients():
    with cmp.Manager() as manager:
        queue, numbers, slow = manager.Queue(), manager.list(), manager.Event()
        clients = [cmp.Process(target=use_for_ever, args=(queue, numbers), daemon=True) for _ in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: len(numbers) > 20)
        signs = [signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL, signal.SIGKILL]
        for client, sign in zip(clients, signs, strict=True):
            os.kill(client.pid, sign)
        del slow
    assert state_of(manager._process.pid) == "X"
    for client in clients:
        client.kill()
        client.join(LONG_S)


def use_for_ever(queue, numbers):
    while True:
        numbers.append(1)
        queue.put(len(numbers))
        queue.get()


def test_a_killed_manager_leaves_no_folder_after_its_shutdown(folders):
    with cmp.Manager() as manager:
        assert len(folders()) == 1
        os.kill(manager._process.pid, signal.SIGKILL)
        manager._process.join(LONG_S)
    assert folders() == []


# ---- a connection whose other half is forgotten ----

ATTACH_FILTER = 26
# Lets through what has no ACK: load the byte of flags; if ACK is among them, drop; pass.
ONLY_BEGINNINGS = struct.pack("HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 0x10, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFF)


def is_connected_to(port: int) -> bool:
    """Somebody believes so."""
    with open("/proc/net/tcp") as table:
        return any(f":{port:04X} 01 " in line[20:] for line in table)


@pytest.fixture
def forgetful():
    """The address of a listener that goes while a connection comes about, so that only the client believes in it."""
    listener = socket.create_server(("127.0.0.1", 0))
    program = ctypes.create_string_buffer(ONLY_BEGINNINGS)
    listener.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(program)))
    address = listener.getsockname()

    def go():
        wait_until(lambda: is_connected_to(address[1]))
        listener.close()

    thread = threading.Thread(target=go)
    thread.start()
    yield address
    thread.join()


def test_client_whose_manager_is_gone_without_a_word_is_told(forgetful, monkeypatch):
    monkeypatch.setattr(cmp.clients, "IDLE_S", 1)
    with pytest.raises(ConnectionResetError):
        SyncManager(forgetful, b"key").connect()


def test_proxy_whose_manager_is_gone_without_a_word_is_told(forgetful, monkeypatch):
    monkeypatch.setattr(cmp.clients, "IDLE_S", 1)
    token = Token("list", forgetful, "1")
    with pytest.raises(ConnectionResetError):
        ListProxy(token, "pickle", authkey=b"key")


def test_call_that_meets_the_manager_s_end_is_not_answered(tmp_path):
    address, key = str(tmp_path / "socket"), bytes(process.current_process().authkey)
    server = SyncManager(address, key).get_server()
    server.stop_event = threading.Event()
    server.stop_event.set()
    ours, theirs = cmp.Pipe()
    serving = threading.Thread(target=server.handle_request, args=(theirs,))
    serving.start()
    with server.listener, ours:
        connection.answer_challenge(ours, key)
        connection.deliver_challenge(ours, key)
        ours.send((None, "accept_connection", ("a client",), {}))
        assert ours.recv() == ("#RETURN", None)  # it is accepted
        serving.join(LONG_S)
        with pytest.raises(EOFError):
            ours.recv()
