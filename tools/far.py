"""Builds and tests cmp on a CPython that this machine does not have, in a Debian system put into a folder.

    python tools/far.py [arguments for pytest]

The folder is build/far, or FAR_FOLDER; it is filled once, by debootstrap, from the release FAR_RELEASE (sid) with the
Python FAR_PYTHON (3.14) and its own tests. Every run copies the tree there, builds, and runs the C layers' tests,
pytest, and CPython's suites by every start method where their harness is (CONFORMANCE). It needs root, debootstrap and,
the first time, the network; where one is missing it says so and leaves it at that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import debian
import matrix
import pythons

FOLDER = Path(os.environ.get("FAR_FOLDER") or pythons.ROOT / "build" / "far").resolve()
RELEASE = os.environ.get("FAR_RELEASE") or "sid"
PYTHON = "python" + (os.environ.get("FAR_PYTHON") or "3.14")
PACKAGES = [
    *(f"{PYTHON}-dev", f"lib{PYTHON}-testsuite", "python3-setuptools"),
    *("python3-pytest", "python3-pytest-timeout", "python3-numpy", "python3-hypothesis"),
    *("gcc", "libc6-dev", "make", "procps"),
]
# A /proc, /dev and /dev/shm of its own, and a root that is a mount of its own, so that tests may mount over /dev/shm.
# Everything ends with the first process, the shell: it stays, for a process number 1 ignores most signals.
ENTER = """
mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" &&
mount -t tmpfs tmpfs "$0/dev/shm" && chroot "$0" "$@"
"""
INSIDE_TREE, INSIDE_NOTES, INSIDE_HARNESS = "/srv/tree", "/srv/notes", "/srv/harness"


def inside(*command: str) -> int:
    """Runs a command in the system in the folder, from the copy of the tree."""
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, FOLDER]
    go = ["env", "-C", INSIDE_TREE, f"CMP_NOTES={INSIDE_NOTES}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command]
    return subprocess.run([*enter, *go]).returncode


def bring(source: Path, place: str) -> None:
    """Copies a folder in, if it is there."""
    target = Path(f"{FOLDER}{place}")
    shutil.rmtree(target, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, target)


def main(arguments: list[str]) -> int:
    reason = "this needs root" if os.geteuid() else debian.furnish(FOLDER, RELEASE, PACKAGES)
    if reason is not None:
        print(f"far: left out, {reason}")
        return 0
    harness = Path(os.environ.get("CONFORMANCE") or "../shared/tools/conformance/conformance.py").absolute()
    pythons.copy_tree(Path(f"{FOLDER}{INSIDE_TREE}"))
    bring(Path(matrix.notes_folder()), INSIDE_NOTES)

    steps = {
        "build": [PYTHON, "setup.py", "-q", "build_ext", "--inplace"],
        "C tests": ["make", "-s", "test-c", "CC=gcc"],
        "pytest": [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
    }
    if harness.is_file():
        bring(harness.parent, INSIDE_HARNESS)
        script = f"{INSIDE_HARNESS}/{harness.name}"
        steps["conformance"] = [PYTHON, "tools/conformance.py", script, "--here", "--jobs", "2"]
    failed = [name for name, command in steps.items() if inside(*command)]
    what = f"far: {PYTHON} of Debian {RELEASE}: {', '.join(steps)}"
    print(f"{what}: FAILED: {', '.join(failed)}" if failed else f"{what}: passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
