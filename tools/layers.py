"""Checks the house rules of the C layers: who may include whom, and that each header stands alone.

    python3 tools/layers.py [FOLDER]     prints what is wrong, one line each; exit status 1 if anything is

FOLDER is src/cmp unless given. Includes point down only (os <- shm <- py), by full path from src/cmp; only py/ sees
Python.h, and there it comes first, by way of state.h or itself; a header's guard is CMP_<LAYER>_<NOUN>_H; each header
compiles by itself; no line is longer than 120 characters.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "src" / "cmp").resolve()
LAYERS = ["os", "shm", "py"]  # each may include itself and what stands before it
WIDTH = 120
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def include_faults(path: Path) -> list[str]:
    layer = path.parent.name
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    faults = []
    for kind, name in INCLUDE.findall(path.read_text()):
        if name == "Python.h" and layer != "py":
            faults.append("only py/ includes Python.h")
        if kind == "<":
            continue
        if name.partition("/")[0] not in allowed:
            faults.append(f'"{name}" does not lie below {layer}/')
        elif not (SOURCES / name).is_file():
            faults.append(f'"{name}" does not exist')
    return faults


def guard_faults(path: Path) -> list[str]:
    guard = f"CMP_{path.parent.name}_{path.stem}_H".upper()
    text = path.read_text()
    return [] if f"#ifndef {guard}\n#define {guard}\n" in text else [f"its guard is not {guard}"]


def own_header_faults(path: Path) -> list[str]:
    """The first include of noun.c is noun.h, if there is one: so that it cannot lean on what came before it."""
    own = f"{path.parent.name}/{path.stem}.h"
    includes = INCLUDE.findall(path.read_text())
    if (SOURCES / own).is_file() and includes and includes[0][1] != own:
        return [f'its first include is not "{own}"']
    return []


def compile_faults(path: Path) -> list[str]:
    command = [*os.environ.get("CC", "cc").split(), "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
    command += ["-fsyntax-only", f"-I{SOURCES}"]
    if path.parent.name == "py":
        command.append(f"-I{sysconfig.get_path('include')}")
    with tempfile.NamedTemporaryFile("w", suffix=".c") as unit:
        unit.write(f'#include "{path.relative_to(SOURCES)}"\n')
        unit.flush()
        done = subprocess.run([*command, unit.name], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else ["does not compile alone: " + done.stderr.strip().splitlines()[0]]


def width_faults(path: Path) -> list[str]:
    lines = enumerate(path.read_text().splitlines(), 1)
    return [f"line {number} is longer than {WIDTH}" for number, line in lines if len(line) > WIDTH]


def faults_of(path: Path) -> list[str]:
    faults = include_faults(path) + width_faults(path)
    if path.suffix == ".h":
        faults += guard_faults(path) + compile_faults(path)
    else:
        faults += own_header_faults(path)
    return [f"{path.relative_to(SOURCES)}: {fault}" for fault in faults]


def main() -> int:
    paths = sorted(path for layer in LAYERS for path in (SOURCES / layer).glob("*.[ch]"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [fault for found in pool.map(faults_of, paths) for fault in found]
    print("\n".join(faults) if faults else f"layers: {len(paths)} files, in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
