"""pytest-xdist runs tests of cmp's own, measured by coverage."""

import subprocess
import sys
import tempfile
from pathlib import Path

import contexts

ROOT = Path(__file__).resolve().parents[1]
MEASURED = """
import multiprocessing

def only_in_a_child(x):
    y = x + 1
    return y

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(only_in_a_child, [1]) == [2]
            pool.close()
            pool.join()
"""


def run(*arguments, cwd):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def main():
    assert contexts.WAY == "alias"
    with tempfile.TemporaryDirectory() as folder:  # in the environment's own folder coverage would look at nothing
        measure_children(Path(folder))
        run_own_tests(Path(folder))


def measure_children(place):
    (place / "measured.py").write_text(MEASURED)
    (place / "coveragerc").write_text("[run]\nconcurrency = multiprocessing\nparallel = True\n")
    done = run("-m", "cmp", "-m", "coverage", "run", "--rcfile=coveragerc", "measured.py", cwd=place)
    assert done.returncode == 0, done.stderr
    run("-m", "coverage", "combine", "-q", cwd=place)
    report = run("-m", "coverage", "report", "--include=measured.py", cwd=place).stdout
    assert "100%" in report, report


def run_own_tests(place):
    (place / "ownrc").write_text("[run]\nparallel = True\npatch = subprocess\ninclude = */cmp/*\n")  # xdist's workers
    queues = sorted((ROOT / "tests" / "oracle").glob("test_queue*.py"))
    tests = [str(file) for file in (*queues, ROOT / "tests" / "unit" / "test_context.py")]
    coverage = ("-m", "coverage", "run", "--rcfile=ownrc", "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider")
    done = run(*coverage, "--rootdir", str(ROOT), *tests, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 200, done.stdout
    run("-m", "coverage", "combine", "-q", "--rcfile=ownrc", cwd=place)
    done = run("-m", "coverage", "report", "--include=*/cmp/context.py", "--fail-under=60", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    main()
