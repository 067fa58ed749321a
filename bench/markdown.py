"""The results of `run.py --json FILE` as a Markdown table: python bench/markdown.py FILE"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

if __package__ in (None, ""):  # python bench/markdown.py
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import registry
from bench.table import duration


def speed(row: registry.Row, seconds: float) -> str:
    return f"{row.op_bytes / seconds / 1e9:.2f} GB/s" if row.op_bytes else duration(seconds)


def best_peer(row: registry.Row, measured: dict[str, Any]) -> str:
    others = {
        name: figures["seconds_per_op"]
        for name, figures in measured.items()
        if name not in ("stdlib", "cmp") and "seconds_per_op" in figures
    }
    if not others:
        return ""
    name = min(others, key=others.__getitem__)
    return f"{speed(row, others[name])} ({name})"


def table(results: dict[str, Any]) -> str:
    rows, bounds = registry.load(), results["limits"]
    peers = any(set(measured) - {"stdlib", "cmp"} for measured in results["rows"].values())
    lines = [
        "| one operation | stdlib | cmp | ratio | target | the machine's limit |" + (" best peer |" if peers else ""),
        "|---|--:|--:|--:|--:|---|" + ("--:|" if peers else ""),
    ]
    for name, measured in results["rows"].items():
        row = rows[name]
        cells = [name]
        figures = [measured.get(who, {}) for who in ("stdlib", "cmp")]
        cells += [speed(row, f["seconds_per_op"]) if "seconds_per_op" in f else "-" for f in figures]
        if all("each" in f for f in figures):
            both = zip(figures[0]["each"], figures[1]["each"], strict=False)
            cells.append(f"{median(a / b for a, b in both):.1f} x")
        else:
            cells.append("-")
        cells.append(f"{row.target:g} x" if row.target else "")
        cells.append(f"{speed(row, row.limit(bounds))}: {row.limit_text}" if row.limit and bounds else "")
        if peers:
            cells.append(best_peer(row, measured))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    data = json.loads(Path(sys.argv[1]).read_text())
    print(f"{data['machine']}\n\n{table(data)}")
