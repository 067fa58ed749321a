"""Users of semaphores, conditions, events and barriers, killed while they wait, wake others, or work."""

from __future__ import annotations

import threading
import warnings

from .harness import Arena, Words, health
from .queues import die

KILLS_A_ROUND = 100


def finish(arena: Arena, thing) -> None:
    """The crew has been told to end; nothing of the dead stays in the memory."""
    for victim in arena.crew:
        assert arena.join(victim, f"a user of {thing!r} hangs") == 0
    arena.crew.clear()
    found = health(thing, sweep=True)
    assert found["dead"] == 0 and found["tickets"] == 0, f"left in the memory of {thing!r}: {found}"


# ---- semaphores: the dead take with them what they held, and not one more ----

IDLE, TAKING, HOLDING, GIVING = range(4)


def use_semaphore(semaphore, words: Words, page: Words) -> None:
    while not page[0]:
        words[0] = TAKING
        semaphore.acquire()
        words[0] = HOLDING
        words[1] += 1
        words[0] = GIVING
        semaphore.release()
        words[0] = IDLE


def semaphores(arena: Arena) -> None:
    value = arena.dice.choice([2, 3])
    semaphore, page = arena.context.Semaphore(value), Words(1)
    uncertain = 0

    def another(semaphore=semaphore, page=page) -> None:
        words = Words(2)
        arena.start(use_semaphore, semaphore, words, page, words=words)

    for _ in range(4):
        another()
    for _ in range(KILLS_A_ROUND):
        victim = arena.strike()
        if victim.words[0] == HOLDING:
            semaphore.release()  # what it held is known
        uncertain += victim.words[0] in (TAKING, GIVING)
        another()
        entries = [v.words[1] for v in arena.crew]
        if uncertain == value:  # the dead may have them all
            semaphore.release()
            value += 1
        # At least one is left to be taken.
        arena.wait_until(lambda e=entries: [v.words[1] for v in arena.crew] != e, "nobody gets the semaphore")
        if arena.enough:
            break
    page[0] = 1
    finish(arena, semaphore)
    left = semaphore.get_value()
    assert value - uncertain <= left <= value, f"{left} of {value} left, {uncertain} died taking or giving"


# ---- conditions: a notification that reached a dead waiter reaches another ----

# The page that the condition's lock guards.
READY, TAKEN, STOP, INSIDE = range(4)


def await_items(condition, page: Words) -> None:
    warnings.simplefilter("ignore")
    while True:
        with condition:
            while page[READY] == 0 and not page[STOP]:
                condition.wait()
            if page[STOP]:
                return
            page[READY] -= 1
            page[TAKEN] += 1


def notify_items(condition, page: Words) -> None:
    """One item at a time, one notification for each."""
    warnings.simplefilter("ignore")
    while not page[STOP]:
        with condition:
            if page[READY] < 3:
                page[READY] += 1
                condition.notify()


def conditions(arena: Arena) -> None:
    """Waiters are killed, the notifier and one waiter are not: as long as items are made, some are taken."""
    condition, page = arena.context.Condition(arena.dice.choice([None, arena.context.Lock()])), Words(4)
    survivors = [
        arena.start(notify_items, condition, page, crew=False),
        arena.start(await_items, condition, page, crew=False),
    ]
    for _ in range(3):
        arena.start(await_items, condition, page)
    for _ in range(KILLS_A_ROUND):
        arena.strike()
        before = page[TAKEN]
        took_s = arena.wait_until(lambda b=before: page[TAKEN] != b, "no waiter is woken")
        arena.most("longest wait, s", took_s)
        assert took_s < 2, f"woken only after {took_s:.2f} s"
        arena.start(await_items, condition, page)
        if arena.enough:
            break
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with condition:
            page[STOP] = 1
            condition.notify_all()
    for survivor in survivors:
        assert arena.join(survivor, "a survivor hangs") == 0
    finish(arena, condition)
    arena.count("items", page[TAKEN])


# ---- events: whoever sets, clears or waits may die, and set() reaches the rest ----


def use_event(event, page: Words) -> None:
    while not page[0]:
        event.wait(0.001)
        event.clear()
        event.set()


def await_event(event, page: Words) -> None:
    """page[1] counts the times it was woken; page[2] the times it was asked to wait."""
    while not page[0]:
        event.wait()
        page[1] += 1
        event.clear()


def events(arena: Arena) -> None:
    event, page = arena.context.Event(), Words(3)
    waiter = arena.start(await_event, event, page, crew=False)
    for _ in range(3):
        arena.start(use_event, event, page)
    for _ in range(KILLS_A_ROUND):
        arena.strike()
        arena.start(use_event, event, page)
        before = page[1]
        event.set()
        took_s = arena.wait_until(lambda b=before: page[1] != b, "set() wakes nobody")
        arena.most("longest wait, s", took_s)
        arena.alive(waiter, "the waiter")
        if arena.enough:
            break
    page[0] = 1
    # One that clears after this set() sees page[0] before it waits again; the waiter may need it twice.
    arena.wait_until(lambda: event.set() or waiter.process.exitcode is not None, "the waiter does not end")
    assert waiter.process.exitcode == 0
    finish(arena, event)


# ---- barriers: a death breaks a round at worst, and reset() heals it ----


def use_barrier(barrier, page: Words) -> None:
    while not page[0]:
        try:
            barrier.wait(0.05)
        except threading.BrokenBarrierError:
            barrier.reset()


def pass_barrier(barrier, rounds: int) -> None:
    for _ in range(rounds):
        barrier.wait(100)


def act() -> None:
    pass


def barriers(arena: Arena) -> None:
    barrier, page = arena.context.Barrier(3, arena.dice.choice([None, act])), Words(1)
    for _ in range(3):
        arena.start(use_barrier, barrier, page)
    for _ in range(KILLS_A_ROUND):
        arena.strike()
        arena.start(use_barrier, barrier, page)
        if arena.enough:
            break
    page[0] = 1
    finish(arena, barrier)
    barrier.reset()
    passing = [arena.start(pass_barrier, barrier, 50, crew=False) for _ in range(3)]
    for one in passing:
        if arena.join(one, "a barrier with three living parties does not pass") != 0:
            die("a barrier that was reset does not pass")
    found = health(barrier, sweep=True)
    assert found["dead"] == 0, f"left in the barrier's memory: {found}"
