"""How the results are printed: one line a row, further lines for peers and for figures of its own."""

from __future__ import annotations

from bench import limits as limits_module
from bench.registry import Limits, Row
from bench.results import Series, speedup


def duration(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def size(size_bytes: float) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.4g} {unit}"
    return f"{size_bytes / 1024:.3g} KiB"


def speed(row: Row, series: Series) -> str:
    if series.failure:
        return "-" if series.absent else "failed"
    if not series.reports:
        return "-"
    seconds = series.per_op()
    return f"{row.op_bytes / seconds / 1e9:.2f} GB/s" if row.op_bytes else duration(seconds)


def count(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def limits(bounds: Limits) -> str:
    lines = ["This machine at its best (bench/limits.c):"]
    lines += [f"  {limits_module.TEXT[name]:<70} {value:>9.3g}" for name, value in bounds.items()]
    return "\n".join(lines) + "\n"


FORMAT = "{:<43} {:>10} {:>10} {:>7} {:<13} {:>6} {:>10} {:>17} {:>13} {:>19}"


def header(names: list[str]) -> str:
    a, b = names[0], names[1]
    titles = FORMAT.format(
        "one operation", a, b, "ratio", "(spread)", "target", "limit", f"CPU {a}/{b}", "faults", "peak memory"
    )
    return titles + "\n" + "-" * len(titles)


def line(row: Row, series: dict[str, Series], names: list[str], bounds: Limits) -> str:
    first, second = (
        series.get(names[0], Series(absent=True, failure="-")),
        series.get(names[1], Series(absent=True, failure="-")),
    )
    ratio = speedup(first, second)
    limit = ""
    if row.limit and bounds:
        seconds = row.limit(bounds)
        limit = f"{row.op_bytes / seconds / 1e9:.2f} GB/s" if row.op_bytes else duration(seconds)

    def pair(of: object) -> str:
        return "/".join(of(s) if s.reports and not s.failure else "-" for s in (first, second))  # type: ignore[operator]

    missed = ratio is not None and row.target is not None and ratio.median < row.target and bool(bounds)
    text = FORMAT.format(
        row.name,
        speed(row, first),
        speed(row, second),
        f"{ratio.median:.2f}x" if ratio else "-",
        f"({ratio.least:.2f}-{ratio.greatest:.2f})" if ratio else "",
        (f"{row.target:g}x" + ("!" if missed else " ")) if row.target else "",
        limit,
        pair(lambda s: duration(s.per_op("cpu"))),
        pair(lambda s: count(s.per_op("faults"))),
        pair(lambda s: size(s.peak())),
    )
    lines = [text.rstrip()]
    for name, seen in series.items():
        if seen.failure and not seen.absent:
            lines.append(f"    {name} failed: {seen.failure}")
        elif name in names[2:] and not seen.failure:
            versus = speedup(seen, second)
            lines.append(
                f"    {name}: {speed(row, seen)}" + (f"; {names[1]} is {versus.median:.2f}x as fast" if versus else "")
            )
    extras = {name: seen.extra() for name, seen in series.items() if seen.extra() and name in names[:2]}
    for name, extra in extras.items():
        lines.append(f"    {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in extra.items()))
    return "\n".join(lines)
