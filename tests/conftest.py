"""Fixtures of all tests: the two implementations, and the check that a test leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `support`, whatever the import mode

pytest.register_assert_rewrite("support")

from support import leaks, places, stacks  # noqa: E402

leaks.take_a_shm_of_our_own()
places.make_cmp_importable()

import cmp  # noqa: E402

IMPLEMENTATIONS = {"stdlib": multiprocessing, "cmp": cmp}


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # shells start what runs in the background so
        signal.signal(signal.SIGINT, signal.default_int_handler)
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


SNAPSHOT = pytest.StashKey[leaks.Snapshot]()
FAILED = pytest.StashKey[bool]()
HUNG = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item):
    """Before a test that takes too long is given up, and its processes with it: where they all stand."""
    done = yield
    give_up = signal.getsignal(signal.SIGALRM)
    if callable(give_up):

        def tell_and_give_up(number: int, frame: object) -> None:
            print(stacks.of([os.getpid(), *sorted(pid for pid, _ in leaks.children())]), file=sys.stderr)
            item.stash[HUNG] = True
            give_up(number, frame)

        signal.signal(signal.SIGALRM, tell_and_give_up)
    return done


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> None:
    """No child process, descriptor or file in /dev/shm outlives a test."""
    request.node.stash[SNAPSHOT] = leaks.Snapshot()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """That the standard library hangs, as it does now and then, is no failure of cmp's: it says nothing of the test."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    if report.failed and item.stash.get(HUNG, False) and asks_the_standard_library(item):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], "the standard library hung")
    return report


def asks_the_standard_library(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters.get("mp") == "stdlib"


@pytest.hookimpl(wrapper=True, trylast=True)  # innermost: output is captured as it was at the snapshot
def pytest_runtest_teardown(item: pytest.Item):
    """Looks for what was left once all fixtures are gone and pytest, too, has let go of what they gave."""
    yield
    before = item.stash.get(SNAPSHOT, None)
    if before is None:  # its set-up failed
        return
    item.funcargs.clear()
    # The traceback of a failed test keeps its objects, and with them their descriptors.
    failed = item.stash.get(FAILED, False)
    left = before.left_over(patience=0 if failed else leaks.PATIENCE_S)
    leaks.kill_children(since=before)  # or they would be joined when pytest ends
    allowed = {kind for mark in item.iter_markers("leaves") for kind in mark.args}
    left = [what for what in left if what.partition(":")[0] not in allowed]
    assert failed or not left, "the test left behind: " + "; ".join(left)


@pytest.fixture
def notes() -> Path:
    """The folder of the study notes (see support.places)."""
    return places.need_notes()
