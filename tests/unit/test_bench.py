"""Each row of the benchmark runs, on both implementations, with tiny sizes. No times are asserted."""

from __future__ import annotations

import gc
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_bench() -> None:
    """Makes `bench` importable without putting the clone's root, and with it its cmp, on the path."""
    if "bench" not in sys.modules:
        folder = ROOT / "bench"
        spec = importlib.util.spec_from_file_location(
            "bench", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules["bench"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["bench"])


load_bench()

from bench import check, instructions, registry, results, runner, svg, table  # noqa: E402
from bench.rows import growth  # noqa: E402

ROWS = registry.load()


def run_row(mp, row, size):
    try:
        timing = row.work(mp, size)
    except registry.Absent as why:
        pytest.skip(str(why))
    finally:
        gc.collect()  # a dropped queue or pool may wait in a cycle
    assert timing.ops > 0
    assert timing.seconds > 0


@pytest.mark.parametrize("name", ROWS)
def test_row_runs(mp, name, request):
    row = ROWS[name]
    if row.only and request.node.callspec.params["mp"] not in row.only:
        with pytest.raises(AttributeError):
            row.work(mp, row.tiny)
    else:
        run_row(mp, row, row.tiny)


@pytest.mark.parametrize("name", growth.POINTS)
def test_growth_point_is_measured(mp, name, monkeypatch):
    monkeypatch.setattr(growth, "CROWD", 100)
    monkeypatch.setattr(growth, "TASKS", 50)
    run_row(mp, growth.POINTS[name], 2)


def test_measurement_reports_a_row_in_a_process_of_its_own():
    report = runner.measure("lock: acquire+release, uncontended", "stdlib", 50)
    assert report["ops"] == 50
    assert report["left"] == 0
    assert report["cpu"] > 0


def test_measurement_that_takes_too_long_is_ended_and_says_so():
    report = runner.measure("queue: ping-pong over two queues", "stdlib", 10**9, timeout=1.5)
    assert "1.5 s" in report["failed"]


def test_measurement_of_an_absent_name_is_absent_and_not_failed():
    report = runner.measure("queue: ints 1P1C, batches of 100", "stdlib", 50)
    assert "put_many" in report["absent"]


def test_run_prints_and_writes_what_it_measured(tmp_path):
    out = tmp_path / "bench.json"
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--quick", "--against", "stdlib,stdlib",
               "--rows", "put\\+get in one", "--json", str(out)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert "queue: put+get in one process" in done.stdout
    measured = json.loads(out.read_text())["rows"]["queue: put+get in one process"]
    assert measured["stdlib"]["seconds_per_op"] > 0


def series(*seconds: float) -> results.Series:
    made = results.Series()
    for each in seconds:
        made.add({"seconds": each, "ops": 10, "cpu": 1, "faults": 1, "peak": 1, "extra": {}, "left": 0})
    return made


def test_ratio_is_the_median_over_neighbouring_pairs():
    ratio = results.speedup(series(10, 20, 40), series(1, 10, 5))
    assert (ratio.median, ratio.least, ratio.greatest) == (8, 2, 10)


def test_measurement_that_leaves_processes_is_a_failure():
    made = results.Series()
    made.add({"seconds": 1, "ops": 1, "left": 2})
    assert "2 processes" in made.failure


def test_row_below_its_target_is_marked():
    row = next(row for row in ROWS.values() if row.target)
    names = ["stdlib", "cmp"]
    slow = table.line(row, {"stdlib": series(1), "cmp": series(1)}, names, {"spsc_mps": 10.0})
    fast = table.line(row, {"stdlib": series(row.target * 2), "cmp": series(1)}, names, {"spsc_mps": 10.0})
    assert "x!" in slow
    assert "x!" not in fast


def test_check_calls_slower_only_what_every_pair_agrees_on():
    assert check.verdict(series(1, 1, 1), series(1.5, 1.4, 1.3), 0.1) == "SLOWER"
    assert check.verdict(series(1, 1, 1), series(1.5, 1.4, 0.9), 0.1) == ""
    assert check.verdict(series(2, 2, 2), series(1, 1, 1), 0.1) == "faster"


def test_instructions_of_callees_and_of_waiting_are_not_counted():
    lines = ["fn=(1) work", "10 5", "calls=2 20", "10 900", "+1 7", "fn=(2) cmp_spin_wait", "5 1000", "fn=(1)", "3 1"]
    profile = "\n".join(lines)
    assert instructions.own_cost(profile) == 13


def test_plot_is_wellformed_and_draws_every_point(tmp_path):
    from xml.etree import ElementTree

    plot = svg.Plot("a < b", "x", "y", {"one": [(1, 3.0), (10, 40.0), (1e6, 0.2)], "two": [(5, 1.0)]})
    plot.write(tmp_path / "plots" / "p.svg")
    circles = ElementTree.parse(tmp_path / "plots" / "p.svg").findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 4
