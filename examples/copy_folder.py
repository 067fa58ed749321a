"""Copies a folder with a pool of workers and shows how far it is.

    python copy_folder.py FROM TO       or without arguments: a small folder made for the purpose

The workers tell through the manager's queue which file is done; the program counts.
"""

import filecmp
import multiprocessing
import shutil
import sys
import tempfile
from pathlib import Path


def copy(done, source, target):
    shutil.copyfile(source, target)
    done.put(source.name)


def copy_folder(source, target):
    """Copies all of source into the new folder target; returns how many files that were."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for folder in [source, *sorted(path for path in source.rglob("*") if path.is_dir())]:
        (target / folder.relative_to(source)).mkdir(parents=True)

    with multiprocessing.Manager() as manager, multiprocessing.Pool(4) as pool:
        done = manager.Queue()
        for file in files:
            pool.apply_async(copy, (done, file, target / file.relative_to(source)))
        for number in range(1, len(files) + 1):
            done.get()
            # Back to the start of the line, so that each report covers the one before.
            print(f"\r{number} of {len(files)} files, {100 * number // len(files)} %", end="", flush=True)
        print()
    return len(files)


def make_folder(where):
    """A folder with a bit of everything: folders in it, an empty one, an empty file, names in several scripts."""
    for name, content in {
        "旅行.txt": "山\n",
        "empty": "",
        "été/plage.txt": "mer\n" * 9,
        "été/été.txt": "☀",
    }.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(content, encoding="utf-8")
    (where / "nothing").mkdir()
    return where


def main():
    if len(sys.argv) == 3:
        copy_folder(Path(sys.argv[1]), Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as place:
        source, target = make_folder(Path(place) / "source"), Path(place) / "target"
        copy_folder(source, target)
        files = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
        _, wrong, failed = filecmp.cmpfiles(source, target, files, shallow=False)
        print("wrong copies:", len(wrong) + len(failed), "empty folder copied:", (target / "nothing").is_dir())


if __name__ == "__main__":
    main()
