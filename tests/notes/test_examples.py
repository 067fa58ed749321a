"""Every runnable example of the notes: by the oracle, by `python -m cmp`, by the changed import line, and by cmp alone,
where the standard library's queues, pools, locks and process start raise."""

from pathlib import Path

import pytest
from support import launch, leaks, places
from support.catalogue import PROGRAMS
from support.programs import Program

JOBS = [(program, way, False) for program in PROGRAMS for way in (*launch.WAYS, launch.ALONE)]
JOBS += [(program, way, True) for program in PROGRAMS if program.tty for way in launch.WAYS]


def name(job: tuple[Program, str, bool]) -> str:
    program, way, tty = job
    return f"{program.name}-{way}" + ("-tty" if tty else "")


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """All runs that the selected tests ask for, made at once before the first of them."""
    notes = places.need_notes()
    here = [item for item in request.session.items if item.path == Path(__file__)]
    wanted = [item.callspec.params["job"] for item in here if hasattr(item, "callspec")]
    before = leaks.Snapshot()
    done = launch.run_all(wanted, notes, tmp_path_factory.mktemp("notes"))
    assert not before.left_over()
    return done


@pytest.mark.timeout(240)
@pytest.mark.parametrize("job", JOBS, ids=name)
def test_example(job, runs):
    program, way, tty = job
    run = runs[program.name, way, tty]
    print(run.ended.stdout, run.ended.stderr)
    assert not run.ended.timed_out, f"not done after {run.ended.seconds:.0f} s"
    assert not run.ended.left, f"left running: {run.ended.left}"
    assert run.ended.returncode == program.code
    interrupted = "KeyboardInterrupt" in run.ended.stderr + run.ended.stdout
    assert interrupted == bool(program.until)
    assert ("Traceback" in run.ended.stderr + run.ended.stdout) == (program.fails or interrupted)
    program.check(run)


def test_some_twenty_programs_of_five_notes():
    assert len(PROGRAMS) >= 20
    assert {program.source.note for program in PROGRAMS} == {"000", "001", "002", "003", "004"}
    kinds = [program.kind for program in PROGRAMS if program.tty]
    assert sorted(kinds) == ["copy", "pool", "processes", "queue"]


def test_cmp_prints_all_five_items_every_time(notes, tmp_path):
    """The example whose reader, under the standard library, may find the queue empty before the feeder has sent."""
    (program,) = [program for program in PROGRAMS if program.name == "001-queue"]
    for number in range(12):
        run = launch.run(program, "import", notes, tmp_path / str(number))
        assert run.ended.check()
        program.check(run)
