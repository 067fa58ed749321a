"""Managers and their clients, killed: the others go on or are told, and what the dead held comes back."""

from __future__ import annotations

import os
import pickle
import queue as threads_queue
import random
import signal
import warnings
from collections.abc import Callable

import cmp
from cmp.managers import SyncManager

from . import locks, queues
from .harness import Arena, Victim, Words, tree
from .queues import die


def clients(arena: Arena) -> None:
    """A round of each kind, on one manager."""
    with arena.context.Manager() as manager:

        def pick_queue(arena: Arena):
            return manager.Queue(arena.dice.choice([0, 1, 50])), arena.dice.choice(list(queues.SHAPES)), 1

        def pick_lock(arena: Arena):
            return arena.dice.choice([manager.Lock, manager.RLock])()

        queues.producers(arena, pick_queue)
        queues.consumers(arena, pick_queue)
        locks.holders(arena, pick_lock)
        arena.wait_until(lambda: manager._number_of_objects() == 0, "references of killed clients stay")


# ---- the manager is killed ----


class Manager(SyncManager):
    """One with a queue of threads, as programs register them."""


Manager.register("PlainQueue", threads_queue.Queue)

ENDED = (EOFError, ConnectionError, FileNotFoundError)  # the last: connecting where the socket is gone already
CREW = 5


def together(things, name: str):
    with things[name] as held:
        return held


def wait_for_news(things):
    condition = things["condition"]
    with condition:
        condition.wait(0.01)


def tell_news(things):
    condition = things["condition"]
    with condition:
        condition.notify_all()


def add(things):
    with things["value lock"]:
        things["value"].value += 1


def append(numbers):
    try:
        numbers.append(1)
    except ENDED:
        os._exit(1)


def fork_with_proxies(things):
    child = cmp.Process(target=append, args=(things["list"],))
    child.start()
    child.join()
    if child.exitcode != 0:
        raise EOFError  # the child's call met the manager's end


# What a client does again and again: calls in shared memory and over the socket, attachments, starts of processes.
DEEDS: dict[str, Callable[[dict], object]] = {
    "put": lambda t: t["queue"].put(os.urandom(20)),
    "get": lambda t: t["queue"].get(),
    "put where it is full": lambda t: t["narrow queue"].put(1),
    "get where it is full": lambda t: t["narrow queue"].get(),
    "task_done": lambda t: (t["joinable queue"].put(1), t["joinable queue"].get(), t["joinable queue"].task_done()),
    "join": lambda t: t["joinable queue"].join(),
    "plain queue": lambda t: (t["plain queue"].put(1), t["plain queue"].get()),
    "get of an empty queue": lambda t: t["empty queue"].get(),
    "lock": lambda t: together(t, "lock"),
    "rlock": lambda t: together(t, "rlock"),
    "semaphore": lambda t: (t["semaphore"].acquire(timeout=0.005), t["semaphore"].release()),
    "wait": wait_for_news,
    "notify": tell_news,
    "event": lambda t: (t["event"].set(), t["event"].wait(), t["event"].clear()),
    "barrier": lambda t: t["barrier"].wait(),
    "list": lambda t: (t["list"].append(1), len(t["list"]), t["list"][-1:]),
    "dict": lambda t: (t["dict"].update(a=1), t["dict"].copy()),
    "namespace": lambda t: (setattr(t["namespace"], "x", 1), t["namespace"].x),
    "value": add,
    "array": lambda t: t["array"][0],
    "pool": lambda t: t["pool"].apply(abs, (-1,)),
    "attach": lambda t: pickle.loads(pickle.dumps(t["fresh queue"])),
    "pickle a list": lambda t: len(pickle.loads(pickle.dumps(t["list"]))),
    "start": fork_with_proxies,
}


def things_of(manager: Manager, dice: random.Random) -> dict[str, object]:
    made = {
        "queue": manager.Queue(), "narrow queue": manager.Queue(1), "joinable queue": manager.JoinableQueue(),
        "plain queue": manager.PlainQueue(), "empty queue": manager.Queue(), "fresh queue": manager.Queue(),
        "lock": manager.Lock(), "rlock": manager.RLock(), "semaphore": manager.Semaphore(2),
        "condition": manager.Condition(), "event": manager.Event(), "barrier": manager.Barrier(2),
        "list": manager.list(), "dict": manager.dict(), "namespace": manager.Namespace(),
        "value": manager.Value("i", 0), "value lock": manager.Lock(), "array": manager.Array("i", [0]),
    }  # fmt: skip
    if dice.random() < 0.3:
        made["pool"] = manager.Pool(1)
    return made


def live_off(things, deeds: list[str], words: Words) -> None:
    """Does its deeds in turn until one says that the manager has ended. words: [0] calls begun, [1] which deed."""
    warnings.simplefilter("ignore", cmp.AbandonedLockWarning)
    cmp.current_process()._config["daemon"] = False  # it starts processes
    while True:
        for number, deed in enumerate(deeds):
            words[0] += 1
            words[1] = number
            try:
                DEEDS[deed](things)
            except ENDED:
                return
            except BaseException as error:  # noqa: BLE001
                die(f"{deed}: {error!r}")


def ends(manager: Manager, how: str) -> None:
    pid = manager._process.pid
    if how == "shutdown":
        manager.shutdown()
        return
    signals = {"kill": [signal.SIGKILL], "stop and kill": [signal.SIGSTOP, signal.SIGKILL], "term": [signal.SIGTERM]}
    for sign in signals[how]:
        os.kill(pid, sign)


def servers(arena: Arena) -> None:
    """One manager's life and end: each client's call, whichever it is in, ends with an error that says so."""
    dice = arena.dice
    address = ("127.0.0.1", 0) if dice.random() < 0.2 else None
    manager = Manager(address, ctx=arena.context if hasattr(arena.context, "get_context") else None)
    manager.start()
    things = things_of(manager, dice)
    deeds = [deed for deed in DEEDS if deed != "pool" or "pool" in things]
    played: dict[int, list[str]] = {}

    def another() -> Victim:
        words = Words(2)
        own = dice.sample(deeds, dice.randrange(1, 5))
        victim = arena.start(live_off, things, own, words, words=words)
        played[victim.number] = own
        return victim

    for _ in range(CREW):
        another()
    if dice.random() < 0.7:  # else some are still on their way
        arena.wait_until(lambda: all(victim.words[0] > 0 for victim in arena.crew), "a client makes no call")
    for _ in range(dice.randrange(3)):
        victim = arena.strike(mean_s=0.004)
        arena.count("calls of killed clients", victim.words[0])
        another()
    arena.pause(0.005)
    pid, family = manager._process.pid, tree(manager._process.pid)
    how = dice.choice(["kill", "kill", "stop and kill", "term", "shutdown"])
    ends(manager, how)
    arena.count("kills")
    arena.count("managers killed" if how != "shutdown" else "managers shut down")
    for victim in arena.crew:
        deed = played[victim.number][victim.words[1]]
        code = arena.join(victim, f"blocked in {deed!r} after the manager's {how}")
        assert code == 0, f"a client ended with {code} in {deed!r} after the manager's {how}"
        arena.count("calls", victim.words[0])
    arena.crew.clear()
    manager.shutdown()
    alive = lambda: [p for p in family if os.path.exists(f"/proc/{p}/exe")]  # noqa: E731
    arena.wait_until(lambda: not alive(), "processes of the manager live on")
    assert not os.path.exists(f"/proc/{pid}"), "the manager is not reaped"
    if address is None:
        assert not os.path.exists(manager.address), "its socket is still there"
