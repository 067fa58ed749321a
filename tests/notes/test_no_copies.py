"""The notes are read where they are: none of their lines stands in this repository."""

import os

from support import notebook, places

LONG = 30  # shorter ones are anybody's
TEXTS = (".py", ".md", ".txt", ".toml", ".json", ".out", ".c", ".h", ".pyi")


def texts():
    for folder, folders, names in os.walk(places.ROOT):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in ("build", "__pycache__", "node_modules")]
        yield from (os.path.join(folder, name) for name in names if name.endswith(TEXTS))


def test_no_line_of_the_notes_stands_here(notes):
    theirs = {
        line.strip() for n in range(5) for line in notebook.lines_of(notes, f"00{n}") if len(line.strip()) >= LONG
    }
    # Whoever imports a class of multiprocessing writes the same line.
    theirs = {line for line in theirs if not line.startswith("from multiprocessing import ")}
    assert len(theirs) > 100
    copied = []
    for path in texts():
        with open(path, encoding="utf-8", errors="replace") as text:
            copied += [f"{path}: {line.strip()}" for line in text if line.strip() in theirs]
    assert not copied
