"""Builds cmp._core from src/cmp; everything else is in pyproject.toml.

CMP_FAULTS=1 builds the fault points in (see src/cmp/os/fault.h); such a build is for tests only.
"""

import os
import sys
from glob import glob

from setuptools import Extension, setup

if not sys.platform.startswith("linux"):
    sys.exit("cmp needs Linux (memfd, futex, pidfd); on this platform use the standard multiprocessing.")

core = Extension(
    "cmp._core",
    sources=sorted(glob("src/cmp/os/*.c") + glob("src/cmp/shm/*.c") + glob("src/cmp/py/*.c")),
    depends=sorted(glob("src/cmp/*/*.h")),
    include_dirs=["src/cmp"],
    define_macros=[("_GNU_SOURCE", "1")] + ([("CMP_FAULTS", "1")] if os.environ.get("CMP_FAULTS") else []),
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"],
    extra_link_args=["-pthread"],
)

setup(ext_modules=[core], license="MIT")
