"""Clients of managers: of any server, of one that is dead or born again, and clients that die."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import select
import signal
import socket
import threading
from multiprocessing import managers as stdlib_managers

import pytest
from support.managers import ENDED, Manager
from support.waiting import LONG_S, wait_until

import cmp
import cmp.clients
from cmp import _core, proxies

# ---- who serves ----


def serve(path, theirs):
    server = cmp.managers.SyncManager(path, b"key").get_server()
    theirs.send("there")
    server.serve_forever()


def serve_as_the_stdlib_does(path, theirs):
    server = stdlib_managers.SyncManager(path, b"key").get_server()
    theirs.send("there")
    server.serve_forever()


def serve_what_the_parent_made(server, theirs):
    theirs.send("there")
    server.serve_forever()


@pytest.mark.parametrize("how", [serve, serve_as_the_stdlib_does, serve_what_the_parent_made])
def test_a_client_of_a_server_somebody_else_runs(how, tmp_path):
    path = str(tmp_path / "socket")
    ours, theirs = cmp.Pipe(duplex=False)
    what = path
    if how is serve_what_the_parent_made:
        what = cmp.managers.SyncManager(path, b"key").get_server()
        os.link(path, path + "2")
    server = cmp.Process(target=how, args=(what, theirs))
    server.start()
    assert ours.recv() == "there"
    if what is not path:
        what.listener.close()  # ours; or it would look as if there were a server even when the other has ended
        os.link(path + "2", path)
    manager = cmp.managers.SyncManager(path, b"key")
    manager.connect()
    queue, lock = manager.Queue(), manager.Lock()
    with lock:
        queue.put("x")
    assert queue.get(timeout=LONG_S) == "x"
    assert (queue._attached is None) == (how is serve_as_the_stdlib_does)
    server.kill()
    server.join(LONG_S)
    with pytest.raises((*ENDED, FileNotFoundError)):
        queue.get()
    ours.close()
    theirs.close()


def test_a_client_that_speaks_xml_goes_through_the_server():
    manager = cmp.managers.SyncManager(serializer="xmlrpclib")
    manager.start()
    with manager:
        queue = manager.Queue()
        queue.put("x")
        assert queue.get() == "x"
        del queue


# ---- idents and addresses that are used again ----


def test_a_forked_child_knows_a_new_queue_with_an_old_one_s_ident():
    with cmp.Manager() as manager:
        proxies.started_here.clear()  # as in a worker: what came in a pickle is kept for the next
        made = manager.Queue()
        old = pickle.loads(pickle.dumps(made))
        ident = old._id
        del made, old
        ours, theirs = cmp.Pipe()

        def child():
            theirs.recv().put("for the new one")
            theirs.recv()

        process = cmp.Process(target=child)
        process.start()
        proxies._kept.clear()
        gc.collect()
        wait_until(lambda: manager._number_of_objects() == 0)
        others = []
        while not others or others[-1]._id != ident:
            others.append(manager.Queue())
            if len(others) == 200 and others[-1]._id != ident:
                others.clear()
                process.kill()
                process.join()
                ours.close()
                theirs.close()
                pytest.skip("the manager does not use its memory again")
        ours.send(others[-1])
        assert others[-1].get(timeout=LONG_S) == "for the new one"
        ours.send("end")
        process.join(LONG_S)
        ours.close()
        theirs.close()
        del others


def test_a_dead_manager_s_objects_are_not_taken_for_its_successor_s(tmp_path):
    path = str(tmp_path / "socket")
    manager = cmp.managers.SyncManager(path)
    manager.start()
    queue = manager.Queue()
    key = path, queue._id
    assert proxies._current(key) is queue._attached
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join(LONG_S)
    assert proxies._current(key) is None
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(path)
        successor.listen()
        del queue
        gc.collect()
        assert select.select([successor], [], [], 0)[0] == [], "the successor was asked about it"
    manager.shutdown()


# ---- what the dead held ----


def hold(queue, theirs):
    copies = [pickle.loads(pickle.dumps(queue)) for _ in range(3)]
    theirs.send(len(copies))
    signal.pause()


def test_a_dead_client_is_forgotten_though_a_child_of_the_manager_knows_it_too():
    """The child inherits the descriptor by which the manager watches the client."""
    with Manager() as manager:
        queue, inside = manager.Queue(), manager.Inside()
        ours, theirs = cmp.Pipe(duplex=False)
        client = cmp.Process(target=hold, args=(queue, theirs), daemon=True)
        client.start()
        ours.recv()
        child = manager.Parent().start()
        try:
            client.kill()
            client.join(LONG_S)
            wait_until(lambda: inside.ended_and_known() == (0, 1))
        finally:
            os.kill(child, signal.SIGKILL)
        ours.close()
        theirs.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("patch", ["none", "no epoll", "select of others"])
def test_a_dead_client_is_forgotten_whatever_others_have_made_of_select(patch, monkeypatch):
    calls = cmp.get_context("fork").Value("i")

    def counting(*args):
        calls.value += 1
        return original(*args)

    original = select.select
    if patch != "none":
        monkeypatch.delattr(select, "epoll")
        monkeypatch.delattr(select, "poll")
    if patch == "select of others":
        monkeypatch.setattr(select, "select", counting)
    context = cmp.get_context("fork")
    manager = Manager(ctx=context)
    manager.start()
    with manager:
        queue, inside = manager.Queue(), manager.Inside()
        for _ in range(3):
            ours, theirs = cmp.Pipe(duplex=False)
            client = context.Process(target=hold, args=(queue, theirs), daemon=True)
            with ours, theirs:
                client.start()
                ours.recv()
                assert inside.ended_and_known() == (0, 2)  # this process is one
                client.kill()
                client.join(LONG_S)
                wait_until(lambda: inside.ended_and_known() == (0, 1))
    assert (calls.value > 0) == (patch == "select of others")


@pytest.mark.timeout(60)
def test_descriptors_are_waited_for_where_sockets_do_not_block():
    """eventlet's do not, nor does a connection that is made of one."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        sender = threading.Timer(0.1, _core.send_descriptors, (far.fileno(), (far.fileno(),)))  # later than the wait
        sender.start()
        (fd,) = proxies._receive(near.fileno(), 1)
        sender.join()
        assert os.path.sameopenfile(fd, far.fileno())
        os.close(fd)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("missing", ["readiness.genuine", "_open_spare"])
def test_a_manager_that_lacks_what_it_needs_never_tells_its_address(missing, monkeypatch, capfd):
    """Its clients would look for it in vain."""

    def fail(*args):
        raise OSError(errno.EMFILE, "none left")

    monkeypatch.setattr(f"cmp.server.{missing}", fail)
    with pytest.raises(EOFError):
        Manager(ctx=cmp.get_context("fork")).start()
    assert "none left" in capfd.readouterr().err


def test_an_object_that_fails_at_its_end_does_not_keep_the_other_references_of_the_dead(monkeypatch):
    given_back = []

    def give_back(ident):
        given_back.append(ident)
        if ident == "bad":
            raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)  # nobody is to be buried meanwhile
    clients = cmp.server.Clients()
    clients.watch(give_back)
    near, far = socket.socketpair()
    with near, far:
        for ident in ("bad", "good", "bad", "other"):
            clients.took(near, ident)
    clients._forget(os.getpid())
    assert sorted(given_back) == ["bad", "bad", "good", "other"]


def test_words_by_tcp_do_not_wait_for_the_acknowledgement_of_others():
    """A connection begins with several short ones in a row, each of which would be held back for 40 ms."""
    with Manager(("127.0.0.1", 0)) as manager:
        assert set(manager.Inside().waits_of_tcp()) == {False}
        with cmp.clients.client(manager.address, authkey=manager._authkey) as conn:
            with socket.socket(fileno=os.dup(conn.fileno())) as near:
                assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
