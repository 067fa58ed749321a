"""Fixtures of all tests: the two implementations, and the check that a test leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `support`, whatever the import mode

from support import leaks, places

places.make_cmp_importable()

import cmp

IMPLEMENTATIONS = {"stdlib": multiprocessing, "cmp": cmp}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaves(*kinds): the test may leave these kinds of things (say why)")
    if multiprocessing.get_start_method() != "fork":  # 3.14: the notes, and cmp, mean fork
        multiprocessing.set_start_method("fork", force=True)


def pytest_report_header(config: pytest.Config) -> list[str]:
    notes = places.notes_folder()
    return [f"cmp under test: {Path(cmp.__file__).parent}", f"notes: {notes or 'not here'}"]


@pytest.fixture(params=list(IMPLEMENTATIONS))
def mp(request: pytest.FixtureRequest):
    """The implementation under test: the standard library, which is the oracle, and cmp."""
    return IMPLEMENTATIONS[request.param]


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest):
    """No child process, descriptor or file in /dev/shm outlives a test."""
    before = leaks.Snapshot()
    yield
    allowed = {kind for mark in request.node.iter_markers("leaves") for kind in mark.args}
    left = [what for what in before.left_over() if what.partition(":")[0] not in allowed]
    assert not left, "the test left behind: " + "; ".join(left)


@pytest.fixture
def notes() -> Path:
    """The folder of the study notes (see support.places)."""
    return places.need_notes()
