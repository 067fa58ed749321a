"""A short form of make torture: each role of it, with seeds that do not change."""

from __future__ import annotations

import subprocess

import pytest
from support import places
from torture import run, stalls


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", run.ROLES)
def test_survivors_of_random_kills_lose_nothing_and_never_hang(role):
    if role == "stall" and not stalls.may_trace():
        pytest.skip("ptrace is not allowed here")
    done = subprocess.run(
        run.command(role, seed=5, kills=60, seconds=20),
        env=places.child_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
