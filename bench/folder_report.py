"""A folder of text files, worked through in the three ways that programs share work out between processes.

    python bench/folder_report.py                 with the standard library
    python -m cmp bench/folder_report.py          the same script, unchanged, on cmp

A Pool counts the words of each file, a Queue carries every line to workers that add up checksums, and a Manager's
queue tells how far the copying of the folder is. Seconds go to stderr, results to stdout.
"""

from __future__ import annotations

import collections
import random
import shutil
import sys
import tempfile
import time
import zlib
from multiprocessing import Manager, Pool, Process, Queue
from pathlib import Path

WORDS = "time way year work day man thing woman life child world hand part place case week point group".split()


def make_folder(folder: Path, files: int, lines: int) -> None:
    chance = random.Random(2024)
    for number in range(files):
        text = "".join(" ".join(chance.choices(WORDS, k=6)) + "\n" for _ in range(lines))
        (folder / f"notes-{number:04}.txt").write_text(text)


def count_words(path: Path) -> dict[str, int]:
    return dict(collections.Counter(path.read_text().split()))


def with_a_pool(paths: list[Path]) -> str:
    total: collections.Counter[str] = collections.Counter()
    with Pool(2) as pool:
        for counts in pool.imap_unordered(count_words, paths):
            total.update(counts)
        pool.close()
        pool.join()
    word, times = total.most_common(1)[0]
    return f"{sum(total.values())} words in {len(paths)} files, most often {word!r} ({times} times)"


def add_checksums(lines: Queue, sums: Queue) -> None:
    total = 0
    while (line := lines.get()) is not None:
        total += zlib.crc32(line)
    sums.put(total)


def with_a_queue(paths: list[Path]) -> str:
    lines: Queue = Queue()
    sums: Queue = Queue()
    workers = [Process(target=add_checksums, args=(lines, sums)) for _ in range(2)]
    for worker in workers:
        worker.start()
    count = 0
    for path in paths:
        for line in path.read_bytes().splitlines():
            lines.put(line)
            count += 1
    for _ in workers:
        lines.put(None)
    total = sum(sums.get() for _ in workers)
    for worker in workers:
        worker.join()
    return f"{count} lines, checksum {total:x}"


def copy_file(source: Path, target: Path, progress: Queue) -> None:
    shutil.copyfile(source, target)
    progress.put(source.stat().st_size)


def with_a_manager_queue(paths: list[Path], target: Path) -> str:
    with Manager() as manager, Pool(2) as pool:
        progress = manager.Queue()
        for path in paths:
            pool.apply_async(copy_file, (path, target / path.name, progress))
        copied = sum(progress.get() for _ in paths)
        pool.close()
        pool.join()
    return f"{len(list(target.iterdir()))} files copied, {copied} bytes"


def main() -> None:
    files, lines = (int(argument) for argument in (sys.argv[1:] + ["1500", "60"])[:2])
    with tempfile.TemporaryDirectory() as source, tempfile.TemporaryDirectory() as target:
        make_folder(Path(source), files, lines)
        paths = sorted(Path(source).iterdir())
        for name, job in (
            ("Pool", lambda: with_a_pool(paths)),
            ("Queue", lambda: with_a_queue(paths)),
            ("Manager().Queue", lambda: with_a_manager_queue(paths, Path(target))),
        ):
            begin = time.perf_counter()
            said = job()
            print(f"{name}: {time.perf_counter() - begin:.4f}", file=sys.stderr)
            print(f"{name}: {said}")


if __name__ == "__main__":
    main()
