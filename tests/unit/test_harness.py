"""The test harness itself: a check that cannot fail is no check."""

import os
import sys
from pathlib import Path

import pytest
from support import leaks, places, session


def test_snapshot_sees_a_child_process():
    before = leaks.Snapshot()
    child = os.fork()
    if child == 0:
        os.read(os.pipe()[0], 1)
        os._exit(0)
    left = before.left_over(patience=0)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert [line.partition(":")[0] for line in left] == ["child process"]
    assert before.left_over() == []


def test_snapshot_sees_a_descriptor():
    before = leaks.Snapshot()
    fd = os.open("/dev/null", os.O_RDONLY)
    left = before.left_over(patience=0)
    os.close(fd)
    assert left == [f"descriptor: ({fd}, '/dev/null')"]


def test_session_separates_stdout_from_stderr():
    ended = session.run([sys.executable, "-c", "import sys; print(input()); sys.exit('no')"], stdin="你好\n")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("你好\n", "no\n", 1)


def test_session_gives_a_terminal():
    code = "import os; print(os.isatty(0), os.isatty(1), os.getpgrp() == os.tcgetpgrp(0))"
    assert "True True True\r\n" in session.run([sys.executable, "-c", code], tty=True).check().stdout


@pytest.mark.parametrize("tty", [False, True], ids=["pipe", "tty"])
def test_session_presses_ctrl_c_once_the_output_was_seen(tty):
    code = "import time\ntry:\n  print('up', flush=True)\n  time.sleep(60)\nexcept KeyboardInterrupt:\n  print('down')"
    ended = session.run([sys.executable, "-c", code], until=["^up"], tty=tty).check()
    assert ended.stdout.splitlines()[-1].endswith("down")


def test_session_reports_and_kills_what_a_program_leaves(monkeypatch):
    monkeypatch.setattr(session, "GRACE_S", 0.2)
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    ended = session.run([sys.executable, "-c", code])
    pid = int(ended.stdout)
    assert [int(line.split()[0]) for line in ended.left] == [pid]
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        state = "gone"
    assert state in ("Z", "X", "gone")  # a zombie is init's to reap


def test_session_ends_a_program_that_does_not():
    ended = session.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.5)
    assert ended.timed_out and ended.returncode == -9
    assert " python S in " in ended.standing.replace(Path(sys.executable).name, "python")  # its thread, asleep


def run_tests(folder: Path, code: str) -> str:
    """What pytest says of these tests, which have the fixtures of all."""
    (folder / "test_it.py").write_text(code)
    options = ["-p", "conftest", "-p", "no:cacheprovider", "-q", "-rs", "--rootdir", os.fspath(folder)]
    return session.run(
        [sys.executable, "-m", "pytest", *options, os.fspath(folder)],
        cwd=folder,
        env={"PYTHONPATH": os.fspath(places.ROOT / "tests")},
    ).stdout


def test_a_leaking_test_fails(tmp_path):
    said = run_tests(
        tmp_path,
        "import os\nkept = []\n"
        "def test_leaks():\n  kept.append(os.dup(0))\n"
        "def test_is_clean(mp):\n  assert mp.__name__ in ('cmp', 'multiprocessing')\n",
    )
    assert "3 passed, 1 error" in said and "left behind: descriptor" in said


def test_a_hang_of_the_standard_library_is_no_failure_and_one_of_cmp_is(tmp_path):
    said = run_tests(
        tmp_path,
        "import pytest, time\n"
        "@pytest.mark.timeout(0.5)\ndef test_waits(mp):\n  mp.Event().wait()\n"
        "def test_fails(mp):\n  assert mp.__name__ == 'cmp'\n",
    )
    assert "test_waits[cmp]" in said and "2 failed, 1 passed, 1 skipped" in said
    assert "the standard library hung" in said


def test_missing_notes_are_a_skip_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("CMP_NOTES", os.fspath(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="CMP_NOTES"):
        places.need_notes()


def test_missing_notes_are_a_failure_in_ci(tmp_path, monkeypatch):
    monkeypatch.setenv("CMP_NOTES", os.fspath(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CMP_NOTES"):
        places.need_notes()
