"""What all campaigns share: pages that outlive a killed writer, a crew of victims, deadlines that dump every stack.

A campaign is a function `campaign(arena)` that plays one round, and is called until there were kills enough. It starts
victims, has them killed at random instants through `arena.strike`, and raises an AssertionError where the books do not
balance. Nothing in it waits without a deadline.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cmp
from support import stacks

PATIENCE_S = 100.0  # for anything that takes milliseconds, on a machine where others work too
DUMP = signal.SIGUSR1  # every process of a campaign answers it with its threads' stacks


class Words:
    """Shared 64-bit words: what a process wrote there stays when it is killed. Spawned children find them by name."""

    def __init__(self, count: int, name: str | None = None):
        self.count, self._file = count, None
        if name is not None:
            self._file = open(name, "r+b")  # noqa: SIM115
        elif Words.named:
            self._file = os.fdopen(os.memfd_create("torture-words"), "r+b")
            self._file.truncate(max(count, 1) * 8)
        self._map = mmap.mmap(-1 if self._file is None else self._file.fileno(), max(count, 1) * 8)
        self.view = memoryview(self._map).cast("Q")

    named = False  # true while children are spawned

    def __reduce__(self):
        return Words, (self.count, f"/proc/{os.getpid()}/fd/{self._file.fileno()}")

    def __getitem__(self, at):
        return self.view[at]

    def __setitem__(self, at, value):
        self.view[at] = value


class Hang(AssertionError):
    """Somebody did not come back in time."""


def processes() -> dict[int, list[str]]:
    """By pid, from its state on, what /proc/PID/stat says. One that is a zombie to its parent may have threads that
    still end, and with them its descriptors."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" or int(fields[17]) > 1:
            found[int(entry.name)] = fields
    return found


def tree(root: int) -> list[int]:
    """The processes below root."""
    parents: dict[int, list[int]] = {}
    for pid, fields in processes().items():
        parents.setdefault(int(fields[1]), []).append(pid)
    found = list(parents.get(root, []))
    for pid in found:
        found += parents.get(pid, [])
    return found


def orphans() -> list[int]:
    """Of this session, those whose parent has ended."""
    return [pid for pid, fields in processes().items() if fields[1] == "1" and int(fields[3]) == os.getsid(0)]


def dump_stacks() -> None:
    """Of this process, all below it, and who was left by those: Python's by its own handler, the rest from outside."""
    sys.stdout.flush()
    faulthandler.dump_traceback(all_threads=True)
    kin = [*tree(os.getpid()), *orphans()]
    print(*("--- before any is woken:", *map(stacks.by_kernel, kin)), sep="\n", file=sys.stderr, flush=True)
    for pid in tree(os.getpid()):
        print(f"--- Python stacks of {pid}", file=sys.stderr, flush=True)
        with suppress(OSError):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, DUMP)
            time.sleep(0.2)
    print(stacks.of([os.getpid(), *kin]), file=sys.stderr, flush=True)


def tell(pid: int, sign: int) -> None:
    """A signal, unless it has ended by itself meanwhile and been reaped (who starts a process reaps the others)."""
    with suppress(ProcessLookupError):
        os.kill(pid, sign)


def stop(pid: int) -> None:
    """All its threads stand still when it comes back, or it has ended; it need be no child of ours (a fork server's are
    not)."""
    tell(pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_S
    while not states_of(pid) <= set("TZX"):
        if time.monotonic() > deadline:
            raise Hang(f"{pid} does not stop")
        os.sched_yield()


def states_of(pid: int) -> set[str]:
    """Of its threads, as /proc has them; none if it is gone."""
    try:
        stats = [entry / "stat" for entry in Path(f"/proc/{pid}/task").iterdir()]
        return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats}
    except OSError:
        return set()


class Victim:
    """A process that may be killed at any instant, and the words it leaves."""

    def __init__(self, process, number: int, words: Words | None = None):
        self.process, self.number, self.words = process, number, words

    @property
    def pid(self) -> int:
        return self.process.pid


class Arena:
    """One campaign's run: its dice, its crew, what is counted."""

    def __init__(self, role: str, seed: int, *, kills: int, seconds: float, context=None):
        self.role, self.seed = role, seed
        self.dice = random.Random(f"{role}:{seed}")
        self.kills_wanted = kills
        self.until_ns = time.monotonic_ns() + int(seconds * 1e9)
        self.context = context or cmp
        self.crew: list[Victim] = []
        self.born = 0
        self.counts: dict[str, float] = {"kills": 0, "dead owners": 0}

    # ---- counting ----

    def count(self, what: str, n: float = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + n

    def most(self, what: str, value: float) -> None:
        self.counts[what] = max(self.counts.get(what, 0), value)

    @staticmethod
    def now_ns() -> int:
        return time.monotonic_ns()

    @property
    def enough(self) -> bool:
        """Both are upper bounds: who wants a number of kills leaves the time to them, and the other way round."""
        blows = self.counts["kills"] + self.counts.get("stalls", 0)
        return blows >= self.kills_wanted or time.monotonic_ns() >= self.until_ns

    # ---- waiting ----

    def wait_until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> float:
        """The seconds it took; a Hang, with everybody's stacks, where it does not come true."""
        start = time.monotonic()
        while not holds():
            if time.monotonic() - start > seconds:
                dump_stacks()
                raise Hang(f"after {seconds} s: {what} ({self.role}, seed {self.seed})")
            time.sleep(0.0002)
        return time.monotonic() - start

    def join(self, victim: Victim, what: str = "a process does not end") -> int:
        victim.process.join(PATIENCE_S)
        if victim.process.exitcode is None:
            dump_stacks()
            raise Hang(f"{what}: pid {victim.pid} ({self.role}, seed {self.seed})")
        return victim.process.exitcode

    def fetch(self, result, what: str):
        """Of a pool's task."""
        result.wait(PATIENCE_S)
        if not result.ready():
            dump_stacks()
            raise Hang(f"no result of {what} ({self.role}, seed {self.seed})")
        return result.get()

    # ---- the crew ----

    def start(self, target, *args, words: Words | None = None, crew: bool = True) -> Victim:
        process = self.context.Process(target=target, args=args, daemon=True)
        process.start()
        victim = Victim(process, self.born, words)
        self.born += 1
        if crew:
            self.crew.append(victim)
        return victim

    def pause(self, mean_s: float = 0.0015) -> None:
        """The random instant."""
        time.sleep(min(self.dice.expovariate(1 / mean_s), 0.02))

    def aim(self, queue) -> Victim | None:
        """One of the crew, stopped, at a random instant, inside a section that an internal lock of the queue guards.

        Sections last some ten nanoseconds of each call, so most kills fall outside. Here one is stopped at random,
        again and again, until one stands inside; None if none did.
        """
        for _ in range(40):
            victim = self.dice.choice(self.crew)
            stop(victim.pid)
            if holds_a_lock(victim.pid, queue):
                self.count("aimed")
                return victim
            tell(victim.pid, signal.SIGCONT)
            time.sleep(self.dice.random() * 1e-4)
        return None

    def strike(self, sign: int = signal.SIGKILL, mean_s: float = 0.0015, queue=None) -> Victim:
        """Kills one of the crew, any, after a pause, and takes it off; with a queue half of the times one inside its
        locks. Whoever had ended well before is no kill."""
        self.pause(mean_s)
        victim = self.aim(queue) if queue is not None and self.dice.random() < 0.5 else None
        victim = victim or self.dice.choice(self.crew)
        self.crew.remove(victim)
        tell(victim.pid, sign)
        if sign != signal.SIGKILL:
            tell(victim.pid, signal.SIGCONT)  # one that is stopped would not see it
        code = self.join(victim)
        assert code in (0, -sign), f"it had ended by itself, with {code} ({self.role}, seed {self.seed})"
        if code != 0:
            self.count("kills")
        return victim

    def alive(self, victim: Victim, what: str) -> None:
        assert victim.process.exitcode is None, f"{what} ended with {victim.process.exitcode}"

    def dismiss(self) -> None:
        """Ends what is left, however it stands."""
        for victim in self.crew:
            victim.process.kill()
        for victim in self.crew:
            victim.process.join()
        self.crew.clear()


def shared_part(thing):
    """Of a manager's proxy what lies in shared memory, of a pool its engine, of the rest itself."""
    if isinstance(thing, cmp.managers.BaseProxy):
        return thing._referent
    return thing._terminate._args[0] if isinstance(thing, cmp.pool.Pool) else thing


def health(thing, *, sweep: bool = False) -> dict[str, int]:
    return cmp._core._health(shared_part(thing), sweep=sweep)


def holds_a_lock(pid: int, queue) -> bool:
    holders = set(cmp._core._holders(shared_part(queue))) - {0}
    if not holders:
        return False
    try:
        return not holders.isdisjoint(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return False


def check_empty_queue(arena: Arena, queue) -> None:
    """Everything is taken and only the living are left: the memory has to say so."""
    queue.put("the last")
    assert queue.get() == "the last"
    check_memory(arena, queue)


def check_memory(arena: Arena, queue) -> None:
    expected = {"whole": True, "size": 0, "items": 0, "held": 0, "returned": 0, "dead": 0}
    check = time.monotonic() + PATIENCE_S
    while True:
        found = health(queue, sweep=True)
        wrong = {name: found[name] for name in expected if found[name] != expected[name]}
        # A worker that ends by itself (maxtasksperchild) may do so just after the sweep; or the pool sweeps.
        if not found["dead"] or time.monotonic() >= check:
            break
        time.sleep(0.001)
    arena.count("dead owners", found["repairs"])
    assert not wrong and found["chunks"] <= 2, f"left in the queue's memory: {found}"


def listen_for_dumps() -> None:
    faulthandler.enable()
    faulthandler.register(DUMP, all_threads=True)
