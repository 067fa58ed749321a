"""Process: what cmp promises beyond the stdlib: who ends with whom, and what a process costs."""

from __future__ import annotations

import gc
import re
import signal
import subprocess
import sys
import time
import weakref
from multiprocessing import connection, process as books

import pytest
from support.places import child_environment

import cmp
from cmp import _core

# ---- what it says ----


def test_error_is_shown_though_the_module_that_shows_them_cannot_be_imported(capfd, monkeypatch):
    """For want of a descriptor, say."""

    def fail():
        raise LookupError("what it was")

    monkeypatch.setitem(sys.modules, "traceback", None)
    process = cmp.Process(target=fail)
    process.start()
    process.join()
    monkeypatch.undo()
    assert process.exitcode == 1
    said = r"Process .+:\nTraceback .+ in fail\n.+\nLookupError: what it was\n"
    assert re.fullmatch(said, capfd.readouterr().err, re.S)


# ---- signals ----


def test_interrupt_sends_sigint(capfd):
    reader, writer = connection.Pipe(duplex=False)

    def child():
        writer.send("ready")
        while True:  # a signal just before pause() would interrupt nothing
            time.sleep(0.05)

    process = cmp.Process(target=child)
    process.start()
    reader.recv()
    process.interrupt()
    process.join()
    assert process.exitcode == 1
    assert "KeyboardInterrupt" in capfd.readouterr().err
    reader.close()
    writer.close()


# ---- the lifeline ----


FAMILY = """
import cmp, os, signal, sys, time
def busy(out):
    os.write(out, b"%d\\n" % os.getpid())
    while True:
        pass
def brother(life, end):
    os.close(end)
    os.read(life, 1)                    # until this program has ended
def parent(out, method, life, end):
    if method == "fork":
        p = cmp.Process(target=busy, args=(out,), daemon=True)
    else:
        import worker
        p = cmp.get_context(method).Process(target=worker.work, daemon=True)
    p.start()
    cmp.Process(target=brother, args=(life, end)).start()
    signal.pause()
if __name__ == "__main__":
    r, w = os.pipe()
    os.dup2(w, 1)
    p = cmp.Process(target=parent, args=(w, sys.argv[1], *os.pipe())); p.start()
    pid = int(os.read(r, 100))
    begin = time.monotonic()
    p.kill(); p.join()
    while True:
        try:
            state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            state = "X"
        if state in "ZX" or time.monotonic() > begin + 10:
            break
        time.sleep(0.01)
    if state not in "ZX":
        os.kill(pid, 9)
    print(state in "ZX", file=sys.stderr)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_daemon_ends_with_its_killed_parent(method, tmp_path):
    """Also if it has a brother, who is no daemon and lives on."""
    (tmp_path / "family.py").write_text(FAMILY)
    (tmp_path / "worker.py").write_text(
        "import os\ndef work():\n    os.write(1, b'%d\\n' % os.getpid())\n    while True:\n        pass\n"
    )
    done = subprocess.run(
        [sys.executable, "family.py", method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        env=child_environment(),
    )
    assert done.stderr == "True\n"


def test_others_outlive_their_parent(tmp_path):
    code = """
import cmp, os, sys
r, w = os.pipe(); r2, w2 = os.pipe()
def stays():
    os.close(w2)
    os.write(w, b"ready")
    os.read(r2, 1)                      # until the test, too, has closed its end
    os.write(1, b"still here")
def parent():
    cmp.Process(target=stays).start()
    os.read(r, 5)
    os.kill(os.getpid(), 9)
p = cmp.Process(target=parent); p.start(); p.join()
os.close(w2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=150, env=child_environment()
    )
    assert (done.stdout, done.stderr) == ("still here", "")


# ---- cost, and nothing kept ----


def test_a_process_is_freed_by_its_last_reference():
    process = cmp.Process(target=int)
    process.start()
    process.join()
    watch = weakref.ref(process)
    gc.disable()
    try:
        del process
        assert watch() is None
    finally:
        gc.enable()
    assert not [p for p in books._dangling if p.name == "gone"]


def test_references_do_not_grow():
    def once():
        process = cmp.Process(target=int)
        process.start()
        process.sentinel  # noqa: B018
        process.join(100)
        process.close()

    for _ in range(5):
        once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        once()
    gc.collect()
    assert len(gc.get_objects()) < before + 20


COST = """
import cmp, multiprocessing, os, resource
def faults(start, count=30):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    for _ in range(count):
        start()
    return (resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before) / count
def bare():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
def through(package):
    process = package.get_context("fork").Process(target=int)
    process.start()
    process.join()
kinds = [bare, lambda: through(cmp), lambda: through(multiprocessing)]
for kind in kinds:
    faults(kind)
print(*map(faults, kinds))
"""


def test_a_child_touches_few_pages():
    """Copy-on-write faults are most of what a child costs, and a steadier measure than time."""
    done = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, env=child_environment())
    bare, ours, theirs = map(float, done.stdout.split())
    assert (ours - bare) * 1.6 < theirs - bare


def test_the_popen_object_offers_what_the_books_ask_for(blocked):
    popen = blocked._popen
    assert isinstance(popen, _core.Popen)
    assert (popen.method, popen.pid, popen.poll(), popen.returncode) == ("fork", blocked.pid, None, None)
    assert popen.wait(0) is None
    assert popen.duplicate_for_child(7) == 7
    popen.terminate()
    assert popen.wait() == popen.poll() == popen.returncode == -signal.SIGTERM


def leave_with_a_large_code():
    sys.exit(2**80)


def test_an_exit_code_of_any_size_is_logged(capfd):
    logger = cmp.log_to_stderr("INFO")
    try:
        process = cmp.Process(target=leave_with_a_large_code)
        process.start()
        process.join()
    finally:
        logger.handlers.clear()
        logger.setLevel("NOTSET")
    assert process.exitcode == 255
    assert f"process exiting with exitcode {2**80}" in capfd.readouterr().err


def test_a_handle_starts_one_process():
    process = cmp.Process()
    process.start()
    pid = process.pid
    with pytest.raises(RuntimeError, match="one process"):
        process._popen.__init__(cmp.Process())
    process.join()
    assert process.pid == pid


def test_a_class_with_any_name_names_its_processes():
    odd = type("Odd", (type,), {"__name__": property(lambda cls: 12)})
    assert odd("X", (cmp.Process,), {})().name.startswith("12-")


def test_a_script_that_is_not_there_is_told_of_without_argv(capfd, monkeypatch):
    monkeypatch.delattr(sys, "orig_argv")
    assert _core.run_file("/nowhere/to/be found.py") == 2
    assert "[Errno 2] No such file" in capfd.readouterr().err
