"""What the notes say about processes in prose: each statement is a test, on both implementations."""

import os
import signal
import threading
import time

import pytest


def identity():
    return os.getpid(), os.getppid()


def arguments(*args, **kwargs):
    return args, kwargs


def find(what):
    return [].index(what)


def endless(go=None):
    if go is not None:
        go.send(None)
    while True:
        time.sleep(60)


# Creating and starting


def test_creating_an_object_creates_no_process(mp):
    process = mp.Process(target=endless)
    assert process.pid is None and process.exitcode is None and not process.is_alive()
    assert process not in mp.active_children()


def test_start_runs_the_function_in_another_process(child):
    pid, parent = child(identity).end()
    assert pid != os.getpid() and parent == os.getpid()


def test_run_called_by_hand_stays_in_the_same_process(mp):
    seen = []
    mp.Process(target=seen.append, args=("here",)).run()
    assert seen == ["here"]


def test_args_go_by_position_and_kwargs_by_name(child):
    given = child(arguments, 1, "two", kwargs={"three": 3}).end()
    assert given == ((1, "two"), {"three": 3})


def test_args_may_be_any_sequence(mp):
    receive, send = mp.Pipe(duplex=False)
    with receive, send:
        process = mp.Process(target=send.send, args=[("a list", 1)])
        process.start()
        assert receive.poll(100) and receive.recv() == ("a list", 1)
        process.join()


def test_group_is_there_and_unused(mp):
    assert mp.Process(group=None).name
    with pytest.raises(AssertionError):
        mp.Process(group="some")


def test_a_process_is_started_once(child):
    started = child(identity)
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        started.process.start()
    started.end()


def test_more_processes_than_cores_all_run(mp, child):
    running = [child(identity) for n in range(3 * mp.cpu_count() + 2)]
    assert len({one.end()[0] for one in running}) == len(running)


# Names, numbers, attributes


def test_processes_are_numbered_from_one(program):
    ended = program("""\
import multiprocessing
processes = [multiprocessing.Process() for n in range(3)]
print([process.name for process in processes])
""").check()
    assert ended.stdout == "['Process-1', 'Process-2', 'Process-3']\n"


def test_a_childs_child_is_numbered_under_it(program):
    ended = program("""\
import multiprocessing
def show():
    print(multiprocessing.Process().name)
p = multiprocessing.Process(target=show)
p.start()
p.join()
""").check()
    assert ended.stdout == "Process-1:1\n"


def test_the_main_process_is_called_so(mp):
    assert mp.current_process().name == "MainProcess"


def test_current_process_in_the_child_is_the_childs(mp, child):
    started = child(lambda: mp.current_process().name)
    assert started.end() == started.process.name


def test_a_name_can_be_given(mp, child):
    started = child(lambda: mp.current_process().name, name="下载器")
    assert started.process.name == "下载器" and started.end() == "下载器"


def test_a_name_can_be_set_later(mp):
    process = mp.Process(name="old")
    process.name = "new"
    assert process.name == "new"


def test_each_process_has_one_main_thread(child):
    def threads():
        return threading.current_thread().name, threading.active_count(), threading.main_thread().is_alive()

    assert child(threads).end() == ("MainThread", 1, True)


def test_pid_is_what_getpid_says_in_the_child(child):
    started = child(identity)
    pid = started.process.pid
    assert started.end()[0] == pid == started.process.ident


def test_cpu_count_is_that_of_the_machine(mp):
    assert mp.cpu_count() == os.cpu_count()


def test_is_alive_from_start_to_end(mp, closed_gate):
    wait, release = closed_gate
    process = mp.Process(target=wait)
    assert not process.is_alive()
    process.start()
    assert process.is_alive()
    release()
    process.join()
    assert not process.is_alive()


# Joining


def test_join_waits_for_the_end(mp):
    process = mp.Process(target=time.sleep, args=(0.3,))
    process.start()
    began = time.monotonic()
    assert process.join() is None
    assert time.monotonic() - began > 0.2 and process.exitcode == 0


def test_join_with_a_timeout_goes_on_while_the_child_lives(child, closed_gate):
    wait, release = closed_gate
    started = child(wait)
    began = time.monotonic()
    started.process.join(0.3)
    assert time.monotonic() - began > 0.25
    assert started.process.is_alive() and started.process.exitcode is None
    release()
    started.end()


def test_join_with_a_timeout_ends_with_the_child(child):
    started = child(identity)
    began = time.monotonic()
    started.process.join(100)
    assert time.monotonic() - began < 90 and started.process.exitcode == 0


def test_join_before_start_is_an_error(mp):
    with pytest.raises(AssertionError, match="can only join a started process"):
        mp.Process().join()


def test_without_join_the_main_process_goes_on_and_waits_at_its_end(program):
    ended = program("""\
import multiprocessing, time
def work():
    time.sleep(0.5)
    print("child", flush=True)
multiprocessing.Process(target=work).start()
print("main", flush=True)
""").check()
    assert ended.stdout == "main\nchild\n"


def test_with_join_the_main_process_goes_on_afterwards(program):
    ended = program("""\
import multiprocessing, time
def work():
    time.sleep(0.3)
    print("child", flush=True)
p = multiprocessing.Process(target=work)
p.start()
p.join()
print("main", flush=True)
""").check()
    assert ended.stdout == "child\nmain\n"


def test_children_run_at_the_same_time(program):
    ended = program("""\
import multiprocessing, time
processes = [multiprocessing.Process(target=time.sleep, args=(0.7,)) for n in range(6)]
began = time.monotonic()
for p in processes: p.start()
for p in processes: p.join()
print(time.monotonic() - began)
""").check()
    assert 0.7 <= float(ended.stdout) < 6 * 0.7


# Ending


def test_terminate_ends_a_child_at_once(mp):
    receive, send = mp.Pipe(duplex=False)
    with receive, send:
        process = mp.Process(target=endless, args=(send,))
        process.start()
        assert receive.poll(100)
        process.terminate()
        process.join(100)
    assert process.exitcode == -signal.SIGTERM and not process.is_alive()


def test_an_error_in_the_child_prints_its_traceback_and_nothing_else_happens(mp, capfd):
    process = mp.Process(target=find, args=("missing",))
    process.start()
    process.join()
    err = capfd.readouterr().err
    assert process.exitcode == 1
    assert err.startswith(f"Process {process.name}:\nTraceback (most recent call last):\n")
    with pytest.raises(ValueError) as expected:
        find("missing")
    assert err.endswith(f"ValueError: {expected.value}\n")


def test_an_error_in_one_child_is_no_error_in_another(mp, child, capfd):
    failing = mp.Process(target=int, args=("x",))
    failing.start()
    assert child(identity).end()[1] == os.getpid()
    failing.join()
    assert failing.exitcode == 1 and "ValueError" in capfd.readouterr().err


def test_the_end_of_the_main_process_does_not_end_a_child(program):
    ended = program("""\
import multiprocessing, time
def work():
    print("began", flush=True)
    time.sleep(0.5)
    print("ended", flush=True)
multiprocessing.Process(target=work).start()
""").check()
    assert ended.stdout == "began\nended\n"


# Daemons


DAEMON = """\
import multiprocessing, time
def work(ready):
    ready.send(None)
    time.sleep({seconds})
    print("child ended", flush=True)
receive, send = multiprocessing.Pipe(False)
p = multiprocessing.Process(target=work, args=(send,), daemon={daemon})
p.start()
receive.recv()
print("main ends", flush=True)
"""


def test_a_daemon_ends_with_its_parent(program):
    ended = program(DAEMON.format(daemon=True, seconds=1000)).check()
    assert ended.stdout == "main ends\n"


def test_a_child_that_is_no_daemon_outlives_the_main_program(program):
    ended = program(DAEMON.format(daemon=False, seconds=0.5)).check()
    assert ended.stdout == "main ends\nchild ended\n"


def test_daemon_is_off_unless_asked_for(mp):
    assert mp.Process().daemon is False
    assert mp.Process(daemon=True).daemon is True


def test_daemon_is_set_before_start(mp):
    process = mp.Process(target=int)
    process.daemon = True
    process.start()
    assert process.daemon is True
    with pytest.raises(AssertionError, match="process has already started"):
        process.daemon = False
    process.join()


def test_a_daemon_can_be_joined_nevertheless(child):
    assert child(identity, daemon=True).end()


# Classes of one's own


CLASS = """\
import multiprocessing
class Greeter(multiprocessing.Process):
    def __init__(self, whom, **more):
        super().__init__(**more)
        self.whom = whom
    def run(self):
        print("hello", self.whom, "from", self.name)
        self.whom = "changed"
"""


def test_start_calls_run_and_run_sees_the_attributes(program):
    ended = program(CLASS + "g = Greeter('you')\ng.start()\ng.join()\nprint(g.whom, g.exitcode)\n").check()
    assert ended.stdout == "hello you from Greeter-1\nyou 0\n"


def test_super_takes_what_process_takes(program):
    ended = program(CLASS + "g = Greeter('you', name='n', daemon=True)\ng.start()\ng.join()\n").check()
    assert ended.stdout == "hello you from n\n"


def test_a_class_without_super_init_cannot_start(mp):
    class Forgetful(mp.Process):
        def __init__(self):
            pass

    with pytest.raises((AttributeError, AssertionError, ValueError, RuntimeError)):
        Forgetful().start()


def test_run_without_a_target_does_nothing(mp):
    process = mp.Process()
    process.start()
    process.join()
    assert process.exitcode == 0
