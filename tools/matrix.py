"""Builds and tests cmp on every CPython from 3.10 on that is found here, with every C compiler of MATRIX_CC.

    python tools/matrix.py [arguments for pytest]

MATRIX_CC is "gcc clang" unless set, MATRIX_PYTHONS all versions. Ends with a line per combination; exit status 1 if one
does not build without warnings, or fails a test.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pythons

# NumPy and hypothesis are not needed: the tests that use them are skipped without.
TESTING = ("pytest", "pytest-timeout", "numpy", "hypothesis")


def notes_folder() -> str:
    """Where the tree finds the study notes; a copy of it would look elsewhere."""
    return os.environ.get("CMP_NOTES") or str(pythons.ROOT.parent / "shared" / "notes")


def run_tests(built: pythons.Built, log: str, arguments: list[str]) -> tuple[int, str]:
    """Exit status of pytest, and its closing line."""
    command = [built.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    with open(log, "w+") as output:
        environment = {**os.environ, "CMP_NOTES": notes_folder()}
        status = subprocess.run(command, cwd=built.folder, env=environment, stdout=output, stderr=output).returncode
        output.seek(0)
        lines = output.read().splitlines()
    return status, lines[-1] if lines else "no output"


def combination(version: str, compiler: str, arguments: list[str]) -> tuple[bool, str]:
    """Is it well, and what came of it."""
    try:
        built = pythons.prepare(version, compiler, *TESTING)
    except pythons.Unavailable as missing:
        return True, f"left out: {missing}"
    except RuntimeError as error:
        return False, f"FAILED: {error}"
    log = pythons.ROOT / "build" / f"matrix-{version}-{compiler}.log"
    status, closing = run_tests(built, str(log), arguments)
    if status or built.warnings:
        return False, f"FAILED: {closing}, {built.warnings} compiler warnings ({log.relative_to(pythons.ROOT)})"
    return True, closing


def main(arguments: list[str]) -> int:
    outcomes = []
    for version in os.environ.get("MATRIX_PYTHONS", " ".join(pythons.VERSIONS)).split():
        for compiler in os.environ.get("MATRIX_CC", "gcc clang").split():
            well, what = combination(version, compiler, arguments)
            outcomes.append((well, f"{version} {compiler}: {what}"))
            print(outcomes[-1][1], flush=True)
    print("", "matrix:", *(line for _, line in outcomes), sep="\n")
    return 0 if all(well for well, _ in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
