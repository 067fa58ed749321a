"""Where things are: the repository, the cmp under test, the notes, and the environment a child program needs."""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# CMP_BUILD names a folder with another build of the package (make asan-py).
BUILT = Path(os.environ.get("CMP_BUILD") or ROOT).resolve()
BUILT_IN_PLACE = any((BUILT / "cmp" / f"_core{suffix}").exists() for suffix in EXTENSION_SUFFIXES)
NO_CORE = """cmp._core was not found for this Python ({python}).
Install the package:       pip install .
or build it in the tree:   python setup.py build_ext --inplace
({error})"""


def make_cmp_importable() -> None:
    """An in-place build wins; without one the clone's own folder must not hide the installed package."""
    elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    # Of another build's clone the tests themselves are needed, which spawned children import as modules.
    tests = [] if BUILT == ROOT else [str(ROOT)]
    sys.path[:] = [str(BUILT), *elsewhere, *tests] if BUILT_IN_PLACE else elsewhere
    try:
        import cmp._core  # noqa: F401
    except ImportError as error:
        pytest.exit(NO_CORE.format(python=sys.executable, error=error), returncode=pytest.ExitCode.USAGE_ERROR)


def child_environment(**more: str) -> dict[str, str]:
    """The environment for a program started by a test: it finds the same cmp from any working directory."""
    # How output is buffered is part of what a test looks at, so the caller's taste is left out.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment = {**inherited, "PYTHONIOENCODING": "utf-8", **more}
    if BUILT_IN_PLACE:
        others = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
        environment["PYTHONPATH"] = os.pathsep.join([*others, str(BUILT)])
    return environment


def notes_folder() -> Path | None:
    """The folder of the five study notes, which are not part of this repository; None where it is missing."""
    folder = Path(os.environ.get("CMP_NOTES") or ROOT.parent / "shared" / "notes")
    return folder if len(list(folder.glob("00[0-4]_*.txt"))) == 5 else None


def need_notes() -> Path:
    """notes_folder(), or else a failure where tests must be complete (CI=true), a skip elsewhere."""
    folder = notes_folder()
    if folder is None:
        say = "the five study notes are not here: put them into ../shared/notes, or name their folder in CMP_NOTES"
        if os.environ.get("CI") == "true":
            pytest.fail(say, pytrace=False)
        pytest.skip(say)
    return folder
