"""make torture: kills processes at random instants and looks whether anybody notices.

    python tests/torture/run.py [--seconds S] [--kills N] [--seed SEED] [ROLE ...]

Each role gets a process of its own, the seconds are shared among them. A failure prints the command that repeats it:
the seed decides what is played and how long each victim lives; the instruction it dies at is the machine's choice.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from torture import harness, locks, managers, mixed, pools, queues, stalls, waits  # noqa: E402

ROLES: dict[str, Callable[[harness.Arena], None]] = {
    "producer": queues.producers,
    "consumer": queues.consumers,
    "lock": locks.holders,
    "worker": pools.workers,
    "worker-spawn": partial(pools.workers_started_by, "spawn"),
    "worker-forkserver": partial(pools.workers_started_by, "forkserver"),
    "manager": managers.clients,
    "server": managers.servers,
    "semaphore": waits.semaphores,
    "condition": waits.conditions,
    "event": waits.events,
    "barrier": waits.barriers,
    "stall": stalls.threads,
    "mixed": mixed.crowd,
}
GRACE_S = 150  # for the end of a role's last round, hangs dumped


def play(role: str, seed: int, kills: int, seconds: float) -> dict[str, float]:
    """One role, in this process."""
    harness.listen_for_dumps()
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True)
    arena = harness.Arena(role, seed, kills=kills, seconds=seconds)
    start = time.monotonic()
    try:
        while not arena.enough:
            ROLES[role](arena)
    finally:
        arena.dismiss()
        faulthandler.cancel_dump_traceback_later()
    arena.counts["seconds"] = time.monotonic() - start
    return arena.counts


def report(role: str, seed: int, counts: dict[str, float]) -> str:
    told = ", ".join(f"{what} {n:.3f}" if isinstance(n, float) else f"{what} {n}" for what, n in counts.items())
    return f"{role:12} seed {seed}: {told}"


def command(role: str, seed: int, kills: int, seconds: float) -> list[str]:
    return [sys.executable, str(HERE / "run.py"), "--alone", role, "--seed", str(seed), "--kills", str(kills),
            "--seconds", f"{seconds:g}"]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills processes of cmp at random instants.")
    parser.add_argument("roles", nargs="*", metavar="ROLE", help=f"of {', '.join(ROLES)}; all by default")
    parser.add_argument("--seconds", type=float, default=0, help="for all roles together; 0: no limit but --kills")
    parser.add_argument("--kills", type=int, default=0, help="of each role; 0: no limit but --seconds; neither: 1000")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--alone", action="store_true", help="play one role in this process")
    given = parser.parse_args()
    roles = given.roles or list(ROLES)
    if not ROLES.keys() >= set(roles):
        parser.error(f"no such role: {', '.join(set(roles) - ROLES.keys())}")
    seed = random.randrange(10**9) if given.seed is None else given.seed
    kills = given.kills or (10**9 if given.seconds else 1000)
    seconds = given.seconds / len(roles) if given.seconds else 600.0
    if given.alone:
        print(report(roles[0], seed, play(roles[0], seed, kills, seconds)))
        return 0
    failed = []
    for role in roles:
        code = subprocess.run(command(role, seed, kills, seconds), check=False).returncode
        if code != 0:
            failed.append(role)
            print(f"FAILED ({code}): {' '.join(command(role, seed, kills, seconds))}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
