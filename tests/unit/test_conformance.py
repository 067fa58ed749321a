"""The list of the tests of CPython that cmp fails on purpose is short and honest, and the tool would notice more."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from support.places import ROOT


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    tools = str(ROOT / "tools")
    sys.path.insert(0, tools)
    try:
        spec = importlib.util.spec_from_file_location("conformance_tool", ROOT / "tools" / "conformance.py")
        module = sys.modules["conformance_tool"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(tools)
    return module


def report(statuses: dict[str, str], left: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> dict:
    """What the harness says of one class."""
    status = {test: (what, "Traceback\nAssertionError: 1 != 2\n") for test, what in statuses.items()}
    return {"results": [{"cls": "TestA", "status": status, "left": left, "shm": [], "notes": []}], "notes": notes}


EXPECTED = {"TestA.test_known": "D1: why", "Test*.test_variants": "D2: why"}


def test_at_most_eight_are_expected_to_fail(tool: ModuleType) -> None:
    assert 0 < len(tool.expected_failures()) <= 8


def test_each_expected_failure_names_a_difference(tool: ModuleType) -> None:
    differences = set(re.findall(r"\*\*(D\d+)\*\*", (ROOT / "docs" / "DIFFERENCES.md").read_text(encoding="utf-8")))
    reasons = tool.expected_failures().values()
    assert {reason.partition(":")[0] for reason in reasons} <= differences


def test_expected_failure_may_begin_with_a_version(tool: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "expected.txt"
    path.write_text("# a comment\nTestA.test_a  D1: why\nTestA.test_b  from 3.9, D2: why\n")
    assert tool.expected_failures("3.8.18", path) == {"TestA.test_a": "D1: why"}
    assert tool.expected_failures("3.10", path) == {"TestA.test_a": "D1: why", "TestA.test_b": "D2: why"}


def test_failure_that_is_not_expected_is_a_surprise(tool: ModuleType) -> None:
    verdict = tool.judge(report({"test_known": "FAIL", "test_variants": "ERROR", "test_other": "FAIL"}), EXPECTED)
    assert verdict.surprises == ["FAIL TestA.test_other: AssertionError: 1 != 2"]
    assert verdict.counts == Counter(expected=2)


@pytest.mark.parametrize("status", ["CRASH", "hang", "delegated"])
def test_expected_failure_may_only_fail(tool: ModuleType, status: str) -> None:
    assert len(tool.judge(report({"test_known": status}), EXPECTED).surprises) == 1


def test_what_is_left_behind_or_lent_is_a_surprise(tool: ModuleType) -> None:
    verdict = tool.judge(report({"test_a": "ok"}, left=("17 S sleep",), notes=("shim x._dangling",)), EXPECTED)
    assert verdict.surprises == ["MISSING: shim x._dangling", "LEFT by TestA: 17 S sleep"]


def test_expected_failure_that_passes_everywhere_is_stale(tool: ModuleType, capsys: pytest.CaptureFixture) -> None:
    passes = tool.judge(report({"test_known": "ok", "test_variants": "ok"}), EXPECTED)
    fails = tool.judge(report({"test_known": "FAIL", "test_variants": "ok"}), EXPECTED)
    assert tool.stale([passes, fails]) == {"Test*.test_variants"}
    assert tool.stale([]) == set()
    assert tool.summary([passes, fails], EXPECTED) == 1
    assert "STALE: Test*.test_variants" in capsys.readouterr().out


def test_summary_without_surprises_is_a_success(tool: ModuleType) -> None:
    run = tool.judge(report({"test_known": "FAIL", "test_a": "ok"}), EXPECTED)
    assert tool.summary([run], EXPECTED) == 0
    assert tool.summary([], EXPECTED) == 1  # nothing ran


def test_test_that_tells_nothing_is_noticed(tool: ModuleType) -> None:
    silent = {"results": [{"cls": "TestA", "status": {"test_a": ("ERROR", "exit status 0\n"), "test_b": ("ok", "")}}]}
    assert list(tool.without_outcome(silent)) == [("TestA", "test_a")]
    assert list(tool.without_outcome(report({"test_a": "ERROR", "test_b": "skipped"}))) == []


def test_process_that_outlives_a_run_is_found_and_ended(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "PATIENCE_S", 0)
    mark = f"CMP_TEST_MARK={os.getpid()}"
    sleeper = [sys.executable, "-c", "import os, time; os.setsid(); print('up', flush=True); time.sleep(60)"]
    environment = dict(os.environ, CMP_TEST_MARK=str(os.getpid()))
    with subprocess.Popen(sleeper, env=environment, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert [line.split()[2] for line in tool.survivors(mark)] == [str(process.pid)]
        assert process.wait(10) == -9


def test_alarming_output_is_noticed(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "TestA.log").write_text("===== test_a\nWarning -- Dangling processes: {17}\nfine\n")
    assert tool.alarms(tmp_path) == ["TestA says: Warning -- Dangling processes: {17}"]


@pytest.mark.parametrize("file", ["test_concurrent_futures.py", "test_concurrent_futures/__init__.py"])
def test_folder_may_have_the_tests_that_a_python_lacks(tool: ModuleType, tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert tool.has_tests(tmp_path, "concurrent_futures")
    assert not tool.has_tests(tmp_path, "multiprocessing")
    assert not tool.has_tests(None, "concurrent_futures")


def test_the_tree_of_an_unpacked_sdist_is_all_but_what_was_built(tool: ModuleType, tmp_path, monkeypatch) -> None:
    for name in ("setup.py", "cmp/pool.py", "cmp/_core.so", "cmp/__pycache__/pool.pyc", "build/on/x.py", ".venv/y.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(tool.pythons, "ROOT", tmp_path)
    assert tool.pythons.tree_files() == {"setup.py", "cmp/pool.py"}
