"""python tests/crash/run.py [--full] [WALK [POINT:before|after:COUNT]]

Builds cmp with fault points into build/faults (release builds have none), and plays the walks of this folder there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "faults"


def build() -> None:
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(BUILD), "--build-temp", str(BUILD / "temp")],
        cwd=ROOT,
        env={**os.environ, "CMP_FAULTS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for source in (ROOT / "cmp").glob("*.py"):
        shutil.copy(source, BUILD / "cmp" / source.name)


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--full"]
    full = "--full" in sys.argv
    build()
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path[:] = [str(BUILD), str(ROOT / "tests"), *others]
    import cmp

    assert Path(cmp.__file__).is_relative_to(BUILD), cmp.__file__
    from crash import managers, plain, pools
    from crash.harness import walk

    walks = {**plain.WALKS, **pools.WALKS, **managers.WALKS}
    names = arguments[:1] or (list(walks) if full else plain.SHORT + pools.SHORT + managers.SHORT)
    if not walks.keys() >= set(names):
        sys.exit(f"no such walk: {names[0]}. There are {', '.join(walks)}")
    only = arguments[1] if len(arguments) > 1 else None
    well = True
    for name in names:
        play, options = walks[name]
        well = walk(name, play, full=full, only=only, **options) and well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
