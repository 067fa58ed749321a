"""What was measured of one row on one implementation, and ratios between two of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Series:
    reports: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""
    absent: bool = False

    def add(self, report: dict[str, Any]) -> None:
        if "absent" in report:
            self.failure, self.absent = report["absent"], True
        elif "failed" in report:
            self.failure = report["failed"]
        elif report["left"]:
            self.failure = f"{report['left']} processes outlived the measurement"
        else:
            self.reports.append(report)

    def each(self, what: str) -> list[float]:
        return [report[what] / report["ops"] for report in self.reports]

    def per_op(self, what: str = "seconds") -> float:
        """The median, for one operation."""
        return statistics.median(self.each(what))

    def peak(self) -> float:
        return statistics.median(report["peak"] for report in self.reports)

    def extra(self) -> dict[str, float]:
        if not self.reports:
            return {}
        return {
            key: statistics.median(report["extra"][key] for report in self.reports) for key in self.reports[0]["extra"]
        }

    def as_dict(self) -> dict[str, Any]:
        if self.failure:
            return {"absent" if self.absent else "failed": self.failure}
        return {
            "seconds_per_op": self.per_op(),
            "cpu_per_op": self.per_op("cpu"),
            "faults_per_op": self.per_op("faults"),
            "peak_bytes": self.peak(),
            "each": self.each("seconds"),
            "extra": self.extra(),
        }


@dataclass(frozen=True)
class Ratio:
    median: float
    least: float
    greatest: float


def speedup(base: Series, other: Series) -> Ratio | None:
    """How many times faster `other` is than `base`: from neighbouring pairs."""
    if base.failure or other.failure:
        return None
    pairs = [a / b for a, b in zip(base.each("seconds"), other.each("seconds"), strict=False)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs)) if pairs else None
