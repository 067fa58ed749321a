"""The C sources keep the house rules, and the tools that say so would notice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_tool(name: str, *folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / name, *folder], capture_output=True, text=True, timeout=150, check=False
    )


SOME = [
    *("os/atomics.h", "os/fault.h", "os/clock.h", "os/clock.c"),
    *("shm/mutex.h", "shm/mutex.c", "shm/member.h", "shm/member.c"),
]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of some of the sources, for a test to spoil."""
    for name in SOME:
        copy = tmp_path / "cmp" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "src" / "cmp" / name, copy)
    return tmp_path / "cmp"


@pytest.mark.timeout(180)  # each header is compiled by itself
@pytest.mark.parametrize("tool", ["layers.py", "raw_atomics.py"])
def test_sources_keep_the_rules(tool: str) -> None:
    done = run_tool(tool)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("tool", "file", "line", "complaint"),
    [
        ("layers.py", "os/clock.c", '#include "shm/mutex.h"\n', "does not lie below os/"),
        ("layers.py", "shm/mutex.c", "#include <Python.h>\n", "only py/ includes Python.h"),
        ("layers.py", "shm/mutex.h", "no_such_type cmp_nonsense(void);\n", "does not compile alone"),
        ("layers.py", "os/clock.c", '#include "os/no_such.h"\n', "does not exist"),
        ("layers.py", "os/clock.c", "/*" + "*" * 118 + "/\n", "is longer than 120"),
        ("raw_atomics.py", "shm/mutex.c", "void f(_Atomic int *w) { atomic_store(w, 1); }\n", "raw atomic_store"),
        ("raw_atomics.py", "shm/mutex.c", "void f(int *w) { __atomic_add_fetch(w, 1, 0); }\n", "raw __atomic_add"),
        ("raw_atomics.py", "shm/member.c", "void f(struct cmp_member_shm *s) { s->who = 0; }\n", "plain store"),
        ("raw_atomics.py", "shm/member.c", 'void f(void) { cmp_store(w, 0, relaxed, "Bad"); }\n', "not noun.verb"),
    ],
)
def test_tool_complains(sources: Path, tool: str, file: str, line: str, complaint: str) -> None:
    path = sources / file
    path.write_text(path.read_text() + line)
    done = run_tool(tool, sources)
    assert done.returncode == 1
    assert complaint in done.stdout
    assert file in done.stdout
