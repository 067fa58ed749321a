"""What the notes say about what parent and child share: each statement is a test, on both implementations."""

import threading

number = 10
things = []


def set_number(value):
    global number
    before, number = number, value
    return before, number


def append_thing(thing):
    things.append(thing)
    return list(things)


def test_the_child_has_what_the_parent_had(child):
    things.append("before")
    try:
        assert child(append_thing, "own").end() == ["before", "own"]
    finally:
        things.clear()


def test_a_global_changed_in_the_child_stays_as_it_was_in_the_parent(child):
    assert child(set_number, 20).end() == (10, 20)
    assert number == 10


def test_a_global_changed_in_one_child_stays_as_it_was_in_another(child):
    assert child(set_number, 20).end() == (10, 20)
    assert child(set_number, 30).end() == (10, 30)


def test_a_global_changed_in_the_parent_later_stays_as_it_was_in_the_child(child, closed_gate):
    wait, release = closed_gate
    started = child(lambda: wait() and number)
    set_number(11)
    try:
        release()
        assert started.end() == 10
    finally:
        set_number(10)


def test_a_list_is_not_shared_either(child):
    assert child(append_thing, 1).end() == [1]
    assert things == []


def test_threads_of_a_process_do_share(child):
    def threads():
        workers = [threading.Thread(target=append_thing, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sorted(things)

    assert child(threads).end() == [0, 1, 2, 3]


def test_the_child_runs_its_function_only(program):
    ended = program("""\
import multiprocessing
print("top", flush=True)
p = multiprocessing.Process(target=print, args=("function",))
p.start()
p.join()
print("bottom")
""").check()
    assert ended.stdout == "top\nfunction\nbottom\n"


def test_the_childs_standard_input_is_unusable(program):
    ended = program(
        """\
import multiprocessing, sys
def ask():
    try:
        input("? ")
    except EOFError:
        print("nothing to read")
first = input()
p = multiprocessing.Process(target=ask)
p.start()
p.join()
print(first, input())
""",
        stdin="one\ntwo\n",
    ).check()
    assert ended.stdout == "? nothing to read\none two\n"
