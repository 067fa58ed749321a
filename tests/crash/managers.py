"""Managers: a client, or the manager itself, is killed at every store that it reaches."""

from __future__ import annotations

import pickle
import signal
import threading
import time
import warnings
from functools import partial
from queue import Empty

import cmp
from cmp import _core
from cmp.managers import SyncManager

from .harness import Run, note_death

ENDED = (EOFError, ConnectionError, FileNotFoundError)
SIZES = [10, 300, 5000, 70_000]
ITEMS = 24
LONG_S = 20


def use(things: dict, arm=lambda: None) -> None:
    """Every kind of call once or a few times; none waits for anybody."""
    arm()
    queue = pickle.loads(things["pickled queue"])
    for k in range(ITEMS):
        queue.put((k, bytes(SIZES[k % 4])))
    for _ in range(ITEMS // 2):
        queue.get()
    joinable = things["joinable"]
    for k in range(3):
        joinable.put(k)
        joinable.get()
        joinable.task_done()
    joinable.join()
    for _ in range(2):
        with things["lock"], things["rlock"], things["rlock"]:
            things["list"].append(1)
    things["semaphore"].acquire()
    things["semaphore"].release()
    with things["condition"]:
        things["condition"].notify()
        things["condition"].wait(0.001)
        things["condition"].notify_all()
    things["event"].set()
    things["event"].wait()
    things["event"].clear()
    things["barrier"].wait()


def things_of(manager) -> dict:
    queue = manager.Queue()
    return {
        "queue": queue, "pickled queue": pickle.dumps(queue), "joinable": manager.JoinableQueue(2),
        "lock": manager.Lock(), "rlock": manager.RLock(), "semaphore": manager.Semaphore(2), "list": manager.list(),
        "condition": manager.Condition(), "event": manager.Event(), "barrier": manager.Barrier(1),
    }  # fmt: skip


def wait_until(fact, what: str) -> None:
    deadline = time.monotonic() + LONG_S
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def check_queue(queue) -> None:
    """What is there are the last items put, in order, and nobody dead holds anything."""
    came = []
    try:
        while True:
            came.append(queue.get_nowait()[0])
    except Empty:
        pass
    assert came == list(range(came[0], came[-1] + 1)) if came else True, came
    assert not came or came[0] <= ITEMS // 2
    found = _core._health(queue._referent, sweep=True)
    expected = {"whole": True, "size": 0, "items": 0, "held": 0, "returned": 0, "dead": 0}
    assert {name: found[name] for name in expected} == expected, found


def client(play: Run) -> None:
    """The victim is a client; another one, and the manager, go on."""
    warnings.simplefilter("ignore", cmp.AbandonedLockWarning)
    with cmp.Manager() as manager:
        things = things_of(manager)
        victim = cmp.Process(target=use, args=(things, play.arm))
        victim.start()
        victim.join(LONG_S)
        assert victim.exitcode in (0, -signal.SIGKILL), victim.exitcode
        if victim.exitcode != 0:
            note_death(play)
        check_queue(things["queue"])
        others = things_of(manager)
        things.update({name: others[name] for name in ("pickled queue", "joinable", "barrier", "semaphore")})
        survivor = threading.Thread(target=use, args=(things,))
        survivor.start()
        survivor.join(LONG_S)
        assert not survivor.is_alive(), "a survivor hangs"
        del others
        things.clear()
        wait_until(lambda: manager._number_of_objects() == 0, "references of the dead stay")


def server(play: Run, address=None) -> None:
    """The victim is the manager, from its start to its orderly end; its clients are told."""
    manager = SyncManager(address)
    said: list[object] = []

    def wait_for_ever(queue) -> None:
        try:
            queue.get()
        except BaseException as error:  # noqa: BLE001
            said.append(error)

    waiter = None
    try:
        manager.start(play.arm)
        things = things_of(manager)
        waiter = threading.Thread(target=wait_for_ever, args=(manager.Queue(),), daemon=True)
        waiter.start()
        use(things)
        del things
    except ENDED:
        assert play.point is not None
    if hasattr(manager, "shutdown"):
        manager.shutdown()
    manager._process.join(LONG_S)
    assert manager._process.exitcode in (0, -signal.SIGKILL), manager._process.exitcode
    if manager._process.exitcode != 0:
        note_death(play)
    if waiter is not None:
        waiter.join(LONG_S)
        assert len(said) == 1 and isinstance(said[0], ENDED), said


WALKS = {
    "manager-client": (client, {}),
    "manager-server": (server, {}),
    "manager-server-tcp": (partial(server, address=("127.0.0.1", 0)), {}),
}
SHORT = ["manager-client", "manager-server"]
