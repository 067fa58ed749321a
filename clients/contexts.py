"""Which contexts a client gives to the package it tries: those of `multiprocessing` itself, which is cmp, or cmp's."""

from __future__ import annotations

import multiprocessing
import sys

import cmp

WAY = sys.argv[1]
METHODS = ("fork", "spawn", "forkserver")
CONTEXTS = {method: (multiprocessing if WAY == "alias" else cmp).get_context(method) for method in METHODS}

assert (multiprocessing is cmp) == (WAY == "alias"), "run this by clients/run.py"
