"""Debian systems in folders, for tools that test cmp where this machine cannot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def furnish(folder: Path, release: str, packages: list[str], *options: str) -> str | None:
    """Has debootstrap fill the folder, once; why that did not succeed."""
    done, wanted = folder / "furnished", f"{release} {packages}"
    if done.exists() and done.read_text() == wanted:
        return None
    if shutil.which("debootstrap") is None:
        return "no debootstrap here"
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    print(f"putting Debian {release} into {folder} ...", flush=True)
    command = ["debootstrap", *options, "--variant=minbase", "--include=" + ",".join(packages), release, folder]
    with open(log, "w") as output:
        if subprocess.run(command, stdout=output, stderr=output).returncode:
            return f"debootstrap does not succeed: {log.read_text().strip().splitlines()[-1:]} ({log})"
    done.write_text(wanted)
    return None
