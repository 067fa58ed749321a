"""Whole programs, as people write them: the same output, errors and exit code on the standard library and on cmp."""

from __future__ import annotations

import re
import sys

import pytest
from support import launch, session
from support.places import ROOT

PROGRAMS = sorted(path for path in (ROOT / "tests" / "programs").glob("*.py") if path.name != "test_programs.py")


def without_addresses(text: str) -> str:
    """cmp says by which name it goes; addresses and the insides of either library are nobody's business."""
    return re.sub(r"0x[0-9a-f]+", "0x...", text).replace("cmp.", "multiprocessing.")


def last_words(stderr: str) -> list[str]:
    """What stands at the margin: messages, and of a traceback its head and its end."""
    return sorted(line for line in without_addresses(stderr).splitlines() if line[:1].strip())


def seen(run: session.Ended) -> tuple[str, list[str], int | None]:
    return without_addresses(run.stdout), last_words(run.stderr), run.returncode


def seen_of_theirs(run: session.Ended) -> tuple[str, list[str], int | None]:
    """Whether its tracker finds semaphores of processes that have just ended is a matter of who is faster."""
    output, errors, code = seen(run)
    return output, [line for line in errors if "resource_tracker: " not in line], code


@pytest.mark.timeout(300)
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_program_does_the_same(program, method, tmp_path):
    ours = session.run([*launch.command("alias", program), method], cwd=tmp_path, timeout=150)
    assert not ours.timed_out and not ours.left
    # On a loaded machine the standard library's own run hangs now and then: it may try again.
    for _ in range(3):
        # Each program sets its start method itself.
        theirs = session.run([sys.executable, str(program), method], cwd=tmp_path, timeout=150)
        if seen_of_theirs(theirs) == seen(ours):
            break
    assert seen(ours) == seen_of_theirs(theirs)
