"""make bench-growth: how cost grows, as tables and as plots in docs/plots/.

Each point is measured in a process of its own, the standard library and cmp in turn; of several runs the median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # python bench/growth.py
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import runner
from bench.svg import Plot

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
Report = dict[str, Any]


def per_op_us(report: Report) -> float:
    return float(report["seconds"] / report["ops"] * 1e6)


def extra(key: str) -> Callable[[Report], float]:
    return lambda report: float(report["extra"][key])


@dataclass(frozen=True)
class Curve:
    """One plotted quantity of a study."""

    file: str
    title: str
    y_label: str
    value: Callable[[Report], float]
    beside: str = ""  # a further figure in `extra` that is drawn once, as a series of its own


@dataclass(frozen=True)
class Study:
    name: str
    x_label: str
    points: tuple[int, ...]
    curves: tuple[Curve, ...]
    stdlib_at_most: int = sys.maxsize  # beyond that the standard library would take minutes


STUDIES = (
    Study(
        "message size",
        "bytes in a message",
        (8, 64, 512, 4 * KIB, 32 * KIB, 256 * KIB, 2 * MIB, 16 * MIB, 64 * MIB, 256 * MIB),
        (Curve("message-size", "Queue, one producer, one consumer", "us per message", per_op_us),),
    ),
    Study(
        "producers and consumers",
        "producers, and as many consumers",
        (1, 2, 4, 8, 16),
        (
            Curve("crowd", "Queue of ints, N producers and N consumers", "us per message", per_op_us),
            Curve("crowd-cpu", "Queue of ints, N producers and N consumers", "CPU us per message", extra("cpu us")),
        ),
    ),
    Study(
        "producers",
        "producers, one consumer",
        (1, 2, 4, 8, 16),
        (Curve("producers", "Queue of ints, N producers, one consumer", "us per message", per_op_us),),
    ),
    Study(
        "consumers",
        "consumers, one producer",
        (1, 2, 4, 8, 16),
        (Curve("consumers", "Queue of ints, one producer, N consumers", "us per message", per_op_us),),
    ),
    Study(
        "oversubscription",
        "processes, half of them producers",
        (2, 4, 8, 16, 32),
        (Curve("oversubscription-cpu", "Waiting consumers, busy producers", "CPU us per message", extra("cpu us")),),
    ),
    Study(
        "workers",
        "workers",
        (1, 2, 4, 8, 16),
        (
            Curve("workers", "Pool.map, chunksize=1, no-op", "us per task", per_op_us),
            Curve("pool-create", "Pool(N): created, and every worker used", "ms", extra("create ms")),
        ),
    ),
    Study(
        "queues",
        "queues",
        (1, 10, 100, 1000),
        (
            Curve("queues", "Queue(): creation", "us each", per_op_us),
            Curve("queues-memory", "Queue(): memory after one item each", "KiB each", extra("KiB each")),
        ),
    ),
    Study(
        "parent memory",
        "resident bytes of the parent",
        (10 * MIB, 100 * MIB, 1 * GIB, 4 * GIB),
        (Curve("parent-memory", "Process start+join", "us", per_op_us, beside="raw fork us"),),
    ),
    Study(
        "queued items",
        "items in the queue",
        (1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000),
        (
            Curve("queued-put", "put of a small int, nobody takes", "us per put", per_op_us),
            Curve("queued-memory", "memory of a queued small int", "bytes each", extra("bytes each")),
        ),
        stdlib_at_most=1_000_000,
    ),
)


def measure(study: Study, x: int, names: list[str], repeat: int) -> dict[str, list[Report]]:
    reports: dict[str, list[Report]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            if name == "stdlib" and x > study.stdlib_at_most:
                continue
            report = runner.measure(f"growth: {study.name}", name, x, timeout=240)
            if "ops" in report and not report["left"]:
                reports[name].append(report)
            else:
                print(f"    {name} at {x}: {report.get('failed') or report.get('absent') or 'left processes behind'}")
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__.splitlines()[0])
    parser.add_argument("--studies", default="", help="only those whose name contains this")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--points", type=int, default=99, help="only so many points, from the smallest")
    parser.add_argument("--against", default="stdlib,cmp")
    parser.add_argument("--out", type=Path, default=runner.ROOT / "docs" / "plots")
    options = parser.parse_args()
    names = options.against.split(",")
    data: dict[str, Any] = {}
    for study in STUDIES:
        if options.studies not in study.name:
            continue
        print(f"\n{study.name} ({study.x_label})")
        plots = {curve: Plot(curve.title, study.x_label, curve.y_label) for curve in study.curves}
        for x in study.points[: options.points]:
            for name, reports in measure(study, x, names, options.repeat).items():
                if not reports:
                    continue
                figures = {"us": statistics.median(per_op_us(r) for r in reports)}
                figures |= {key: statistics.median(r["extra"][key] for r in reports) for key in reports[0]["extra"]}
                data.setdefault(study.name, {}).setdefault(name, {})[x] = figures
                print(
                    f"  {x:>12} {name:<8}" + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()),
                    flush=True,
                )
                for curve, plot in plots.items():
                    value = statistics.median(curve.value(r) for r in reports)
                    if value > 0:  # a logarithmic axis has no place for nothing
                        plot.series.setdefault(name, []).append((x, value))
                    if curve.beside and name == names[-1]:
                        beside = statistics.median(r["extra"][curve.beside] for r in reports)
                        plot.series.setdefault(curve.beside.removesuffix(" us"), []).append((x, beside))
        for curve, plot in plots.items():
            if plot.series:
                plot.write(options.out / f"{curve.file}.svg")
    kept = options.out / "growth.json"
    if kept.exists():
        data = json.loads(kept.read_text()) | data
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(data, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
