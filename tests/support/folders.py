"""Folders to copy, and the proof that a copy is one."""

from __future__ import annotations

import random
from pathlib import Path

CHARACTERS = "文件夹"


def make_flat(folder: Path) -> Path:
    """Files only: empty, one byte, text, large, with names of several scripts."""
    folder.mkdir()
    noise = random.Random(0)
    (folder / "空的.txt").touch()
    (folder / "x").write_bytes(b"\0")
    (folder / "naïve ☃ 雪.txt").write_text("雪人\r\n" * 100, encoding="utf-8")
    (folder / "large.bin").write_bytes(noise.randbytes(12 << 20))
    for n in range(12):
        (folder / f"{CHARACTERS[n % 3]} {n}.dat").write_bytes(noise.randbytes(1 << n))
    return folder


def make_nested(folder: Path) -> Path:
    """Folders in folders, one of them empty."""
    make_flat(folder)
    make_flat(folder / "子目录")
    make_flat(folder / "子目录" / "deep er")
    (folder / "empty").mkdir()
    return folder


def same_folders(one: Path, other: Path) -> None:
    """Asserts the same names at the same places, and each file the same byte for byte."""
    names = sorted(path.relative_to(one) for path in one.rglob("*"))
    assert names == sorted(path.relative_to(other) for path in other.rglob("*"))
    assert names
    for name in names:
        assert (one / name).is_dir() == (other / name).is_dir(), name
        if not (one / name).is_dir():
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
