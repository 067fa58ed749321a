"""Builds what would be published, and installs it as a user would: make dist-check.

The sdist is unpacked elsewhere and a wheel is built from it; that wheel must be whole, describe itself, run on other
Linux machines of its kind (auditwheel, where it can be had), and work in a fresh environment outside the clone.
"""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = {"Name", "Version", "Summary", "Requires-Python", "License-File", "Description", "Classifier", "License"}


def run(*command: object, cwd: Path, may_fail: bool = False) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        sys.exit(f"dist-check: {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout if done.returncode == 0 else ""


def unpack_sdist(place: Path) -> Path:
    run(sys.executable, "setup.py", "-q", "sdist", "-d", place, cwd=ROOT)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        sdist.extractall(place, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def check_sdist(source: Path) -> None:
    """Whatever the clone has but for its own affairs (.ci and the like), so that all of make works there, too."""
    listing = run("git", "ls-files", cwd=ROOT, may_fail=True).splitlines()  # none where this is no clone itself
    missing = [name for name in listing if not name.startswith(".") and not (source / name).exists()]
    assert not missing, missing


def build_wheel(source: Path, place: Path) -> Path:
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, source, cwd=place)
    (wheel,) = place.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = email.message_from_bytes(archive.read(metadata))
    wanted = {f"cmp/{file.name}" for pattern in ("*.py", "*.pyi", "py.typed") for file in (ROOT / "cmp").glob(pattern)}
    assert wanted <= set(names), wanted - set(names)
    assert [name for name in names if re.fullmatch(r"cmp/_core\.[\w.-]*so", name)], names
    strangers = [name for name in names if not name.startswith("cmp/") and ".dist-info/" not in name]
    assert not strangers, strangers
    body = described.get_payload()
    missing = [field for field in NEEDED if field not in described and not (field == "Description" and body)]
    assert not missing, missing
    assert described["Requires-Python"] == ">=3.10" and described["License"] == "MIT"


def check_platform(wheel: Path, python: Path, place: Path) -> str:
    if not run(python, "-m", "pip", "install", "-q", "auditwheel", cwd=place, may_fail=True):
        if not run(python, "-c", "import auditwheel; print(1)", cwd=place, may_fail=True):
            return "auditwheel cannot be had here"
    said = run(python, "-m", "auditwheel", "show", wheel, cwd=place)
    found = re.search(r'"(manylinux_\w+|musllinux_\w+)"', said)
    assert found, said
    return found[1]


def check_use(python: Path, place: Path) -> None:
    """Every example, and the stub's package as a type checker finds it, where nothing of the clone can be seen."""
    for expected in sorted((ROOT / "examples").glob("pool*.out")):
        script = place / f"{expected.stem}.py"
        script.write_text((ROOT / "examples" / script.name).read_text())
        for how in ([], ["-I", "-m", "cmp"]):
            run(python, *how, script, cwd=place)
    found = run(python, "-c", "import cmp; print(cmp.__file__, cmp.Pool(1).apply(abs, (-3,)))", cwd=place).split()
    assert not Path(found[0]).is_relative_to(ROOT) and found[1] == "3", found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source = unpack_sdist(place)
        check_sdist(source)
        wheel = build_wheel(source, place)
        check_contents(wheel)
        run(sys.executable, "-m", "venv", place / "env", cwd=place)
        python = place / "env" / "bin" / "python"
        run(python, "-m", "pip", "install", "-q", "--no-deps", wheel, cwd=place)
        check_use(python, place)
        print(f"dist-check: {wheel.name} from its sdist is whole and works; {check_platform(wheel, python, place)}")


if __name__ == "__main__":
    main()
