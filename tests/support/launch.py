"""Runs programs of the notes in the three ways they can be run, many at a time: most of them sleep."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import folders, poison, session
from support.notebook import with_import_form
from support.programs import Program, Run
from support.repairs import Repair

WAYS = ("stdlib", "alias", "import")
# `python -m cmp` where the standard library's queues, pools, locks and process start raise if called.
ALONE = "alone"
# Enough that the sleepers overlap, few enough that two cores can start them all without upsetting the timing.
AT_ONCE = 16
FORK_FIRST = """import multiprocessing, runpy, sys
multiprocessing.set_start_method("fork")
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")"""


def command(way: str, script: Path) -> list[str]:
    """The command that runs a script the given way."""
    if way in ("alias", ALONE):
        return [sys.executable, "-m", "cmp", str(script)]
    if way == "stdlib" and multiprocessing.get_all_start_methods()[0] != "fork":
        return [sys.executable, "-c", FORK_FIRST, str(script)]  # 3.14: the notes rely on fork
    return [sys.executable, str(script)]


def run(program: Program, way: str, notes: Path, place: Path, *, tty=False, without: Repair | None = None) -> Run:
    """Runs one program in `place`, a folder that does not exist yet."""
    place.mkdir(parents=True)
    if program.broken:
        (without,) = program.source.repairs
    text = program.source.program(notes, without)
    script = place / "example.py"
    script.write_text(with_import_form(text) if way == "import" else text, encoding="utf-8")
    folder, stdin = None, ""
    if program.copies:
        make = folders.make_flat if program.copies == "flat" else folders.make_nested
        folder = make(place / "要复制 的")
        stdin = f"{folder}\n"
    # An endless child in a pipe would keep its output in a buffer for ever.
    env = {"PYTHONUNBUFFERED": "1"} if program.until and not tty else {}
    if way == ALONE:
        env["PYTHONPATH"] = str(poison.folder(place / "poison"))
    ended = session.run(command(way, script), stdin=stdin, tty=tty, until=program.until, cwd=place, env=env)
    return Run(ended, way, tty, notes, folder)


def run_all(jobs: list[tuple[Program, str, bool]], notes: Path, place: Path) -> dict[tuple[str, str, bool], Run]:
    """Runs (program, way, tty) jobs side by side, the long ones first."""
    jobs = sorted(jobs, key=lambda job: not job[0].until)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = {
            (program.name, way, tty): threads.submit(
                run, program, way, notes, place / f"{program.name}-{way}-{'tty' if tty else 'pipe'}", tty=tty
            )
            for program, way, tty in jobs
        }
        return {key: future.result() for key, future in running.items()}
