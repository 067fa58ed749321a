"""Makes the standard library's own queues, pools, locks and process start unusable in programs a test starts.

What still runs is then cmp's own work. The poison is a `sitecustomize` module, so children of any kind have it too.
"""

from __future__ import annotations

from pathlib import Path

SITECUSTOMIZE = """
import types
from multiprocessing import pool, process, queues, synchronize

def refuse(*args, **kwargs):
    raise RuntimeError("poisoned: the standard library is asked to do the work")

def spoil(cls):
    for name, value in list(vars(cls).items()):
        if isinstance(value, types.FunctionType):
            setattr(cls, name, refuse)

for module in (queues, pool, synchronize):
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            spoil(value)
# The function itself: one put in its place would be the program's wish, which is heard.
process.BaseProcess.start.__code__ = refuse.__code__.replace(co_name="start")
"""


def folder(where: Path) -> Path:
    """Writes the poison into a new folder, to be put in front of PYTHONPATH."""
    where.mkdir(parents=True)
    (where / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return where
