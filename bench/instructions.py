"""make bench-instructions: instructions per operation under callgrind, which hardly any noise of the machine touches.

Each operation runs N and then 2N times, each in a process of its own; the difference over N is free of start-up. In
an apply the parent waits for its worker by looking again and again, so there the instructions of waiting are left
out, and the figure is what the parent does: encode, hand over, take, decode. On a busy machine, where it sleeps and is
woken instead, that is half as much again.

The figures are kept in bench/instructions.json; --update writes them anew, without it they are compared.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if __package__ in (None, ""):  # python bench/instructions.py
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import runner

KEPT = Path(__file__).with_name("instructions.json")
WAITING = re.compile(r"spin|pause|relax|futex|syscall|yield|give_way|hopeless|(^|_)look(_|'|$)|clock|vdso|eventcount")

OPERATIONS = {
    "an empty loop": ("", "pass", 10_000),
    "queue put+get of an int": ("q = cmp.Queue(); put, get = q.put, q.get", "put(7); get()", 4000),
    "queue put+get of a dict": (
        "q = cmp.Queue(); put, get = q.put, q.get; d = dict(a=42, b=33, c=(1, 2, 3), d=[1, 2, 3], e='123', f=b'kkk')",
        "put(d); get()",
        2000,
    ),
    "lock acquire+release": ("l = cmp.Lock(); acquire, release = l.acquire, l.release", "acquire(); release()", 10_000),
    "lock with": ("l = cmp.Lock()", "with l: pass", 10_000),
    "pool apply of a no-op": ("apply = cmp.Pool(1).apply", "apply(int)", 4000),
}

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
import cmp

def run():
    {setup}
    for _ in range({count}):
        {work}

run()
"""


def own_cost(profile: str) -> int:
    """Instructions in a callgrind file, those of waiting functions left out."""
    names: dict[str, str] = {}
    total, waiting, inclusive = 0, False, False
    for line in profile.splitlines():
        if line.startswith("fn="):
            number, _, name = line[3:].partition(" ")
            names.setdefault(number, name)
            waiting = bool(WAITING.search(names[number]))
        elif line.startswith("calls="):
            inclusive = True  # the next line is the cost of the callee, counted where the callee is
        elif line[:1] in "+-*0123456789" and " " in line:
            if not inclusive and not waiting:
                total += int(line.split()[1])
            inclusive = False
    return total


def run_counted(setup: str, work: str, count: int) -> int:
    """Instructions of a whole program that does the work `count` times."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.py")
        program.write_text(PROGRAM.format(root=str(runner.ROOT), setup=setup, work=work, count=count))
        # At fixed addresses: hashes of objects go by them, and what start-up costs varies by more than is looked for.
        counted = subprocess.Popen(
            [
                "setarch",
                "-R",
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out.%p",
                "--compress-strings=yes",
                "--error-limit=no",
                "-q",
                sys.executable,
                str(program),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
        )
        try:
            if counted.wait(300) != 0:
                raise subprocess.CalledProcessError(counted.returncode, "valgrind")
        finally:
            counted.kill()
        # Forked workers write files of their own.
        return own_cost(Path(folder, f"out.{counted.pid}").read_text(errors="replace"))


def per_operation(setup: str, work: str, count: int) -> float:
    return (run_counted(setup, work, 2 * count) - run_counted(setup, work, count)) / count


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-instructions", description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the figures to bench/instructions.json")
    parser.add_argument("--tolerance", type=float, default=0.03)
    options = parser.parse_args()
    if not shutil.which("valgrind") or not shutil.which("setarch"):
        print("valgrind or setarch is not installed here")
        return 1
    key = f"CPython {'.'.join(platform.python_version_tuple()[:2])} {platform.machine()}"
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    before, now, worse = kept.get(key, {}), {}, 0
    run_counted("", "pass", 1)  # writes the byte code, which the first import alone would pay for
    print(f"instructions per operation, {key}")
    for name, (setup, work, count) in OPERATIONS.items():
        try:
            now[name] = round(per_operation(setup, work, count))
        except subprocess.SubprocessError as error:
            print(f"  {name:<30} failed: {error.__class__.__name__}")
            worse += 1
            continue
        change = f"{now[name] / before[name] - 1:+.1%}" if before.get(name) else "new"
        grown = bool(before.get(name)) and now[name] > before[name] * (1 + options.tolerance)
        worse += grown
        print(f"  {name:<30} {now[name]:>8}  {change}{'  GROWN' if grown else ''}", flush=True)
    if options.update:
        kept[key] = now
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    return 1 if worse and not options.update else 0


if __name__ == "__main__":
    sys.exit(main())
