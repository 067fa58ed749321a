"""Checks that shared words are touched through the macros of os/atomics.h only.

    python3 tools/raw_atomics.py [FOLDER]   prints what is wrong, one line each; exit status 1 if anything is
    python3 tools/raw_atomics.py --labels   lists the labels, which are the fault points, with where they stand

FOLDER is src/cmp unless given.

Raw atomic_* and __atomic_* calls, and plain assignments to members declared _Atomic, go round the fault points.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACROS = {"atomics.h", "fault.h"}  # where the macros themselves are

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
RAW_CALL = re.compile(r"\b(?:atomic_(?!bool|int|uint)\w+|__atomic_\w+|__sync_\w+)\s*\(")
# "_Atomic T name;", "_Atomic(T) name[N];", several names after one type
ATOMIC_MEMBER = re.compile(
    r"^\s*(?:static\s+)?_Atomic(?:\([^)]*\)|\s+[\w ]+?) +(\w+(?:\[[^\]]*\])?(?:,\s*\w+(?:\[[^\]]*\])?)*)"
    r"[^;(]*;",
    re.MULTILINE,
)
PLAIN_MEMBER = re.compile(
    r"^\s+(?!_Atomic|return|goto|static|typedef)(?:const\s+)?(?:struct\s+|enum\s+|unsigned\s+)?\w+[ *]+"
    r"(\w+(?:\[[^\]]*\])?(?:,\s*\w+(?:\[[^\]]*\])?)*)(?:\s+__attribute__\(\(.*?\)\))?;",
    re.MULTILINE,
)
LABELLED = re.compile(r'\b(?:cmp_store|cmp_cas|cmp_rmw|CMP_FAULT)\s*\((?:[^;]|\n)*?"([^"]+)"')
LABEL = re.compile(r"[a-z_]+\.[a-z0-9_]+")


def without_comments(text: str) -> str:
    """Comments and strings become blanks; line numbers stay."""
    return COMMENT_OR_STRING.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def members(text: str, pattern: re.Pattern[str]) -> set[str]:
    return {re.sub(r"\[.*", "", name).strip() for found in pattern.findall(text) for name in found.split(",")}


def where(path: Path, text: str, position: int) -> str:
    return f"{path.parent.name}/{path.name}:{text.count(chr(10), 0, position) + 1}"


def main() -> int:
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    sources = folders[0] if folders else ROOT / "src" / "cmp"
    paths = sorted(path for path in sources.glob("*/*.[ch]") if path.name not in MACROS)
    raw = {path: path.read_text() for path in paths}
    code = {path: without_comments(text) for path, text in raw.items()}
    everything = "\n".join(code.values())
    # A name that some struct also has as a plain member cannot be told apart here.
    atomic = members(everything, ATOMIC_MEMBER) - members(everything, PLAIN_MEMBER)
    assigned = re.compile(
        rf"(?:->|\.)\s*({'|'.join(sorted(atomic)) or '(?!)'})\b(?:\s*\[[^\]]*\])?\s*"
        r"(?:=(?!=)|[-+|&^]=|\+\+|--)"
    )
    faults, labels = [], defaultdict(list)
    for path, text in code.items():
        for found in RAW_CALL.finditer(text):
            faults.append(f"{where(path, text, found.start())}: raw {found.group().rstrip('( ')}")
        for found in assigned.finditer(text):
            before = text[: found.start()].rstrip()
            if found.group().startswith(".") and before.endswith(("{", ",")):
                continue  # an initialiser: nobody else knows of the struct yet
            faults.append(f"{where(path, text, found.start())}: plain store to the atomic {found.group(1)}")
        for found in LABELLED.finditer(raw[path]):
            labels[found.group(1)].append(where(path, raw[path], found.start()))
            if not LABEL.fullmatch(found.group(1)):
                faults.append(f"{where(path, raw[path], found.start())}: label {found.group(1)!r} is not noun.verb")
    if "--labels" in sys.argv[1:]:
        for label in sorted(labels):
            print(f"{label:28} {' '.join(labels[label])}")
        return 0
    print("\n".join(faults) if faults else f"atomics: {len(labels)} labels, {len(atomic)} words, none touched raw")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
