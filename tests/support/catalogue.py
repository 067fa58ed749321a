"""Every runnable example of the notes, and what a run of it must show.

A check holds for both implementations unless it asks `run.cmp`; the standard library proves it right.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from support import interface  # noqa: F401  (whose examples are entered, too)
from support.folders import same_folders
from support.notebook import Source
from support.programs import PROGRAMS, Run, check_pool, counts, example

__all__ = ["PROGRAMS"]


# Note 000


@example("000-processes", Source("000", 8, 29), "processes", until=(r"-1-+\r?\n(.|\n)*-1-", r"-2-+\r?\n(.|\n)*-2-"))
def two_endless_processes(run: Run) -> None:
    assert min(counts(run, *(f"-----{n}----" for n in (1, 2)))) >= 2
    assert 1.8 < run.ended.seconds


@example("000-queue", Source("000", 45, 71), "queue")
def a_queue_between_two_processes(run: Run) -> None:
    # The reader stops at a queue that is empty for the moment, and may be faster than the writer.
    assert run.lines in (["1"], ["1", "2"], ["1", "2", "3"])


@example("000-pool", Source("000", 77, 100), "pool", tty=True)
def a_pool_of_three(run: Run) -> None:
    check_pool(
        run,
        processes=3,
        tasks=10,
        start="----start----",
        end="----end----",
        begun=r"(\d)-开始执行，进程号为(\d+)",
        done=r"(\d)-执行完毕，消耗时间(\d\.\d\d)",
    )


@example("000-copy", Source("000", 106, 155), "copy", copies="flat")
def copies_a_folder(run: Run) -> None:
    lines = [line for line in run.lines if line]
    said = [re.fullmatch(r"(.+)复制成功，进度(\d+\.\d\d)", line) for line in lines if "复制成功" in line]
    names = sorted(path.name for path in run.folder.iterdir())
    assert sorted(found[1] for found in said) == names
    assert [found[2] for found in said] == [f"{n * 100 / len(names):.2f}" for n in range(1, len(names) + 1)]
    same_folders(run.folder, Path(f"{run.folder}[复件]"))


# Note 001


@example(
    "001-processes",
    Source("001", 11, 53),
    "processes",
    until=(r"second later(.|\n)*second later(.|\n)*-test1-",),
)
def joins_with_a_timeout(run: Run) -> None:
    cores = re.match(r"cpu_count=[1-9]\d*\n", run.ended.stdout)[0].strip()
    said = [run.said("001", line) for line in (44, 20, 28)]
    once, later, main, first, second = counts(run, cores, "5 second later", *said)
    assert (once, later, main) == (1, 2, 1)
    # A line a second from each child while the main process waited for ten.
    assert 8 <= first <= 12 and 8 <= second <= 12
    assert 10 <= run.ended.seconds


@example("001-queue", Source("001", 77, 112), "queue")
def all_five_items(run: Run) -> None:
    first, second = run.lines
    assert "下载完" in first
    items = re.fullmatch(r"分析器已经分析的数据：(\[.+\])", second)[1]
    everything = str(["c", "c#", "c++", "java", "python"])
    if run.cmp:
        assert items == everything
    else:  # its feeder thread may not have sent an item yet when the reader finds the queue empty
        assert everything.startswith(items[:-1])


@example("001-pool", Source("001", 135, 171), "pool")
def another_pool_of_three(run: Run) -> None:
    check_pool(
        run,
        processes=3,
        tasks=10,
        start="-----start-----",
        end="-----end-----",
        begun=r"(\d)开始执行，进程号为(\d+)",
        done=r"(\d) 执行完毕，耗时(\d\.\d\d)",
    )


@example("001-copy", Source("001", 191, 318), "copy", copies="nested", tty=True)
def copies_nested_folders(run: Run) -> None:
    files = sum(path.is_file() for path in run.folder.rglob("*"))
    at = next(n for n, line in enumerate(run.lines) if line.startswith("<"))
    pool, queue, count, progress = run.lines[at:]
    owner = "cmp" if run.cmp else "multiprocessing"
    assert pool == f"<{owner}.pool.Pool state=RUN pool_size=3>"
    assert re.fullmatch(r"<queue\.Queue object at 0x[0-9a-f]+>", queue)
    assert count == f"total_count= {files}"
    steps = [f"拷贝的进度{n * 100 / files:.2f} %" for n in range(1, files + 1)]
    assert progress == "".join("\r" + step for step in steps)
    same_folders(run.folder, Path(f"{run.folder}_temp"))


@example(
    "001-object",
    Source("001", text="import multiprocessing\n<<64/process = .*\\(\\)\\)/>>\nprint(process, process.pid)\n"),
    "processes",
)
def an_object_is_no_process_yet(run: Run) -> None:
    assert re.fullmatch(r"<Process name='Process-1' parent=\d+ initial> None", run.lines[0])


@example(
    "001-queue-calls",
    Source(
        "001",
        text="""\
import multiprocessing
<<117/queue = .*?\\)/>>
print(<<121/queue.empty../>>)
for item in ("text", 2.5, [None, {"key": b"value"}]):
    <<118(item)>>
print(<<120/queue.full../>>)
print([<<119/queue.get../>> for n in range(3)])
try:
    <<122/queue.get_nowait../>>
except Exception as error:
    print(type(error).__name__)
""",
    ),
    "queue",
)
def each_queue_call(run: Run) -> None:
    assert run.lines == ["True", "True", "['text', 2.5, [None, {'key': b'value'}]]", "Empty"]


@example(
    "001-pool-calls",
    Source(
        "001",
        text="""\
import multiprocessing
<<128/pool = .*?\\)/>>
results = [pool.<<129/apply_async/>>(pow, args=(2, n)) for n in range(4)]
<<178/pool.close../>>
<<179/pool.join../>>
print([result.get() for result in results])
""",
    ),
    "pool",
)
def each_pool_call(run: Run) -> None:
    assert run.lines == ["[1, 2, 4, 8]"]


# Note 002


@example(
    "002-processes",
    Source("002", 25, 39),
    "processes",
    until=("-1-(.|\n)*-1-", "-2-(.|\n)*-2-"),
    code=-signal.SIGINT,
    tty=True,
)
def parent_and_child_take_turns(run: Run) -> None:
    ones, twos = counts(run, "---1---", "---2---")
    assert 2 <= ones <= 5 and 2 <= twos <= 5


PID = Source("002", 45, 58)


@example("002-pid", PID, "processes")
def prints_two_pids(run: Run) -> None:
    said = {mark: line for line in run.lines for mark in ("结束", "运行", "父") if mark in line}
    assert len(run.lines) == len(said) == 3
    ends, runs, parent = said["结束"], said["运行"], said["父"]
    pids = re.search(r"pid=(\d+)\.\.\.$", runs)[1], re.search(r"pid: (\d+) $", parent)[1]
    assert len(set(pids)) == 2
    assert run.lines.index(runs) < run.lines.index(ends)


@example("002-pid-as-printed", PID, "processes", broken=True, fails=True)
def an_error_in_the_child_is_the_childs(run: Run) -> None:
    assert len(run.lines) == 1 and "父进程pid" in run.lines[0]
    first, second, *_, last = run.ended.stderr.splitlines()
    assert (first, second) == ("Process Process-1:", "Traceback (most recent call last):")
    assert last.startswith("NameError: name 'ps' is not defined")
    assert "run_proc" in run.ended.stderr


@example("002-queue", Source("002", 154, 180), "queue", tty=True)
def full_and_empty(run: Run) -> None:
    *states, first, second, m1, m2, m3 = run.lines
    assert states == [run.said("002", line).partition("# ")[2] for line in (158, 160)]
    assert first.endswith("数量：3") and second.endswith("数量：3") and first != second
    assert [m1, m2, m3] == ["消息1", "消息2", "消息3"]
    assert run.ended.seconds >= 2


@example("002-pool", Source("002", 207, 227), "pool")
def a_pool_without_main_guard(run: Run) -> None:
    check_pool(
        run,
        processes=3,
        tasks=10,
        start="---start---",
        end="---end---",
        begun=r"(\d)开始执行，进程号为(\d+)",
        done=r"(\d) 执行完毕，耗时(\d\.\d\d)",
    )


@example(
    "002-manager-queue",
    Source(
        "002",
        text="""\
<<237>>
<<238>>
pool = Pool(2)
pool.apply_async(po.put, ("from a worker",))
print(po.get())
pool.close()
pool.join()
""",
    ),
    "queue",
)
def a_managers_queue_goes_to_workers(run: Run) -> None:
    assert run.lines == ["from a worker"]


# Note 004


@example(
    "004-processes",
    Source("004", 12, 28),
    "processes",
    until=("kaige(.|\n)*kaige", "sunck(.|\n)*sunck"),
    code=-signal.SIGINT,
)
def arguments_reach_the_child(run: Run) -> None:
    assert min(counts(run, "sunck is a handsome man!", "kaige is a nice man")) >= 2


@example("004-order", Source("004", 30, 51), "processes")
def the_printed_result(run: Run) -> None:
    said = [run.said("004", line) for line in range(54, 60)]
    lines = run.lines
    # The two children start, and end, at the same moment: in either order. A pipe shows a whole process at a time.
    assert sorted(lines) == sorted(said)
    assert lines[-1] == said[-1]
    for start, end in ((said[1], said[3]), (said[2], said[4])):
        assert lines.index(start) < lines.index(end)
    assert 3 <= run.ended.seconds


@example("004-globals", Source("004", 61, 91), "processes")
def globals_are_not_shared(run: Run) -> None:
    values = {line.partition(" ")[0]: line.partition(" ")[2] for line in run.lines if line.startswith("run")}
    assert values == {
        "run1---1-": "10",
        "run1---2-": "10",
        "run1---3-": "30",
        "run2---1-": "10",
        "run2---2-": "20",
    }
    assert run.lines[-2:] == ["money = 10", "结束主进程"]
    assert len(run.lines) == 12


@example("004-pool", Source("004", 93, 118), "pool")
def more_workers_than_tasks(run: Run) -> None:
    check_pool(
        run,
        processes=4,
        tasks=3,
        start="启动父进程",
        end="结束父进程",
        begun=r"子进程(\d)启动--(\d+)",
        done=r"子进程(\d)结束--\d+--耗时(\d\.\d\d)",
    )
