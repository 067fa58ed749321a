"""The CPythons of this machine and, for each, a copy of the tree built with it: for matrix.py and conformance.py.

Copies lie in build/on/<version>-<compiler> and are brought up to date, never begun anew, so what is built in place in
the tree itself is not touched and a second run compiles only what has changed. A version's environment is
.venv-<version>.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
IS_FIT = """
import os, sys, sysconfig
fit = sys.implementation.name == "cpython" and os.path.exists(sysconfig.get_path("include") + "/Python.h")
sys.exit(0 if fit and sys.version.startswith(sys.argv[1] + ".") else 1)
"""


class Unavailable(Exception):
    """What is missing, in words for whoever started the tool."""


@dataclass
class Built:
    """A copy of the tree with cmp._core built in it, and the interpreter it is for."""

    folder: Path
    python: Path
    warnings: int


def find(version: str) -> Path | None:
    """The interpreter of a version that has its headers: on the PATH, or the newest among those that pyenv keeps."""
    name = f"python{version}"
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    by_age = sorted(kept.glob(f"{version}.*/bin/{name}"), key=lambda path: numbers(path.parts[-3]))
    for candidate in [shutil.which(name), *reversed(by_age)]:
        if candidate and subprocess.run([candidate, "-c", IS_FIT, version], stderr=subprocess.DEVNULL).returncode == 0:
            return Path(candidate)
    return None


def numbers(version: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", version)]


def prepare(version: str, compiler: str = "cc", *more_packages: str) -> Built:
    """Finds the interpreter, makes its environment, copies the tree and builds there."""
    found = find(version)
    if found is None:
        raise Unavailable("not here, or without its headers")
    if shutil.which(compiler) is None:
        raise Unavailable(f"no {compiler} here")
    python = environment(version, found, "setuptools", "wheel", *more_packages)
    folder = ROOT / "build" / "on" / f"{version}-{compiler}"
    copy_tree(folder)
    return Built(folder, python, build(python, compiler, folder))


def environment(version: str, found: Path, *packages: str) -> Path:
    """The interpreter of a virtual environment that has these packages."""
    venv = ROOT / f".venv-{version}"
    stamp, wanted = venv / ".has", " ".join(sorted(packages))
    if not stamp.exists() or not set(packages) <= set(stamp.read_text().split()):
        pip = [venv / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        if any(subprocess.run(command).returncode for command in ([found, "-m", "venv", venv], pip)):
            raise Unavailable("no virtual environment could be made")
        stamp.write_text(wanted)
    return venv / "bin" / "python"


def tree_files() -> set[str]:
    """What belongs to the tree, with what is new and not ignored. An unpacked sdist is no clone: all that was not built
    there."""
    listing = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.suffix not in (".so", ".pyc"))
        names = [str(path) for path in found if path.parts[0] != "build" and not path.parts[0].startswith(".")]
    return {name for name in names if name and (ROOT / name).is_file()}


def copy_tree(folder: Path) -> None:
    """Makes a folder's sources those of the tree; what was built there stays."""
    ours = tree_files()
    for name in ours:
        source, copy = ROOT / name, folder / name
        if not copy.exists() or copy.stat().st_mtime_ns != source.stat().st_mtime_ns:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    for where in ("cmp", "src", "tests", "examples", "bench", "tools"):  # a test that is gone must not be run
        for path in (folder / where).rglob("*"):
            is_source = path.suffix in (".py", ".pyi", ".c", ".h")
            if is_source and str(path.relative_to(folder)) not in ours:
                path.unlink()


def build(python: Path, compiler: str, folder: Path) -> int:
    """Builds in place there and returns the number of compiler warnings."""
    command = [python, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "CC": compiler}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cmp does not build:\n{done.stderr}")
    return len(re.findall(r"warning:.*\[-W", done.stderr))
