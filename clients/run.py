"""Runs real programs on cmp, each in an environment of its own: python clients/run.py [NAME...].

A client is a script in this folder that does real work with a package and checks what comes out. It runs twice: under
`python -m cmp`, where `multiprocessing` is cmp, and under plain python, where it gives the package a context of cmp's.
Packages come from the package index by name; a client whose packages cannot be had is skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PLACE = ROOT / "build" / "clients"
# What each needs, and how it is run: "alias", "context", or both.
CLIENTS = {
    "executors": ([], "alias context"),
    "log": ([], "alias context"),
    "numpy_arrays": (["numpy"], "alias context"),
    "progress": (["tqdm"], "alias context"),
    "joblib_backends": (["joblib", "numpy"], "alias"),
    "torch_loader": (["torch", "numpy"], "alias context"),
    "learn": (["scikit-learn", "pandas"], "alias"),
    "pebble_pool": (["pebble"], "alias context"),
    "own_tests": (["pytest", "pytest-timeout", "pytest-xdist", "coverage"], "alias"),
}
LIMIT_S = 600


def say(*words: object) -> None:
    print(*words, flush=True)


def quietly(*command: object, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)


def wheel() -> Path:
    """cmp as users install it."""
    folder = PLACE / "wheel"
    for old in folder.glob("*.whl"):
        old.unlink()
    done = quietly(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
    if done.returncode:
        sys.exit(f"cmp does not build:\n{done.stdout}{done.stderr}")
    (made,) = folder.glob("*.whl")
    return made


def environment(name: str, packages: list[str], made: Path) -> Path | None:
    """The python of an environment with these packages and cmp; None where the packages cannot be had."""
    python = PLACE / name / "bin" / "python"
    if not python.exists():
        quietly(sys.executable, "-m", "venv", PLACE / name)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for package in packages:
        if quietly(*install, package, timeout=LIMIT_S).returncode:
            return None
    done = quietly(*install, "--no-deps", "--force-reinstall", made)
    if done.returncode:
        sys.exit(f"cmp does not install:\n{done.stdout}{done.stderr}")
    return python


def main(names: list[str]) -> int:
    if not CLIENTS.keys() >= set(names):
        sys.exit(f"no such client: {' '.join(set(names) - CLIENTS.keys())}. There are {' '.join(CLIENTS)}")
    made, failed = wheel(), []
    for name in names or CLIENTS:
        packages, ways = CLIENTS[name]
        python = environment(name, packages, made)
        if python is None:
            say(f"{name}: skipped, {' '.join(packages)} cannot be had here")
            continue
        for way in ways.split():
            command = [python, *(["-m", "cmp"] if way == "alias" else []), HERE / f"{name}.py", way]
            try:
                done = quietly(*command, cwd=PLACE / name, timeout=LIMIT_S)
                good = done.returncode == 0
                words = done.stdout + done.stderr
            except subprocess.TimeoutExpired as error:
                good, words = False, f"not done after {LIMIT_S} s\n{error.stdout}{error.stderr}"
            say(f"{name} ({way}): {'ok' if good else 'FAILED'}")
            if not good:
                say(words)
                failed.append(f"{name} ({way})")
    if failed:
        say("failed:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
