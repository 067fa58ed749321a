"""What the notes say about queues in prose: each statement is a test, on both implementations."""

import os
import pickle
import queue
import time

import pytest

PATIENCE_S = 100
# Long enough that a call which ought to wait and does not is caught; passing costs this much, never a failure.
WHILE_S = 0.2


@pytest.fixture
def make_queue(mp):
    """make_queue(maxsize) is a Queue whose descriptors and thread, if any, are gone after the test."""
    made = []

    def make(*maxsize):
        made.append(mp.Queue(*maxsize))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.join_thread()
    made.clear()


@pytest.fixture
def of_three(make_queue):
    return make_queue(3)


def settle(q, size):
    """Waits until q has `size` items and its reader could take one: the stdlib's put returns before."""
    until = time.monotonic() + PATIENCE_S
    while q.qsize() != size or q.empty() != (size == 0):
        assert time.monotonic() < until
        time.sleep(0.001)
    return q


def put_all(q, items):
    for item in items:
        q.put(item)
    return os.getpid()


def get_all(q, count):
    return [q.get() for n in range(count)]


def test_first_in_first_out(make_queue):
    q = make_queue()
    put_all(q, "abcde")
    assert get_all(q, 5) == list("abcde")


def test_any_type_of_data(make_queue):
    q = make_queue()
    items = [
        None,
        True,
        -1,
        2**70,
        1.5,
        "文",
        b"\0",
        (1, [2, {"k": {3}}]),
        range(4),
        ValueError("x"),
        len,
        dict,
    ]
    put_all(q, items)
    got = get_all(q, len(items))
    assert repr(got) == repr(items) and [type(item) for item in got] == [type(item) for item in items]


def test_what_is_got_is_a_copy(make_queue):
    q = make_queue()
    item = [1]
    q.put(item)
    got = q.get()
    assert got == item and got is not item


def test_put_adds_one_and_get_takes_one(of_three):
    sizes = [of_three.qsize()]
    for n in range(3):
        of_three.put(n)
        sizes.append(of_three.qsize())
    for _ in range(3):
        of_three.get()
        sizes.append(of_three.qsize())
    assert sizes == [0, 1, 2, 3, 2, 1, 0]


def test_the_number_given_is_how_many_fit(of_three):
    put_all(of_three, "abc")
    with pytest.raises(queue.Full):
        of_three.put("d", False)
    assert get_all(of_three, 3) == list("abc")


def test_full_says_whether_another_fits(of_three):
    states = []
    for n in range(3):
        states.append(of_three.full())
        of_three.put(n)
    assert states == [False] * 3 and of_three.full() is True
    of_three.get()
    assert of_three.full() is False


def test_empty_says_whether_there_is_something(of_three):
    assert of_three.empty() is True
    of_three.put(1)
    assert settle(of_three, 1).empty() is False
    of_three.get()
    assert of_three.empty() is True


def test_without_a_number_there_is_room_for_any_amount(make_queue):
    q = make_queue()
    put_all(q, range(20_000))
    assert q.full() is False and q.qsize() == 20_000
    assert get_all(q, 20_000) == list(range(20_000))


@pytest.mark.parametrize("maxsize", [0, -1])
def test_zero_and_less_mean_no_limit_too(make_queue, maxsize):
    q = make_queue(maxsize)
    put_all(q, range(1000))
    assert get_all(q, 1000) == list(range(1000))


def test_put_with_a_timeout_raises_full_after_it(of_three):
    put_all(of_three, "abc")
    began = time.monotonic()
    with pytest.raises(queue.Full):
        of_three.put("d", True, WHILE_S)
    assert time.monotonic() - began > WHILE_S * 0.9
    assert get_all(of_three, 3) == list("abc")


def test_put_nowait_raises_full_at_once(of_three):
    put_all(of_three, "abc")
    with pytest.raises(queue.Full):
        of_three.put_nowait("d")
    assert get_all(of_three, 3) == list("abc")


def test_put_waits_in_a_full_queue_until_something_is_taken(child, of_three):
    put_all(of_three, "abc")
    putting = child(put_all, of_three, ["d"])
    assert not putting.reports_within(WHILE_S) and putting.process.is_alive()
    assert of_three.get() == "a"
    assert putting.end()
    assert get_all(of_three, 3) == list("bcd")


def test_get_waits_until_there_is_something(child, of_three):
    getting = child(of_three.get)
    assert not getting.reports_within(WHILE_S) and getting.process.is_alive()
    of_three.put("at last")
    assert getting.end() == "at last"


def test_get_with_a_timeout_raises_empty_after_it(of_three):
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        of_three.get(True, WHILE_S)
    assert time.monotonic() - began > WHILE_S * 0.9


def test_get_nowait_raises_empty_at_once(of_three):
    with pytest.raises(queue.Empty):
        of_three.get_nowait()


def test_get_nowait_returns_what_there_is(of_three):
    of_three.put(7)
    assert settle(of_three, 1).get_nowait() == 7


def test_an_item_of_one_process_reaches_another(child, of_three):
    assert child(put_all, of_three, [1, 2, 3]).end() != os.getpid()
    assert get_all(of_three, 3) == [1, 2, 3]


def test_two_children_talk_through_it(child, of_three):
    reader = child(get_all, of_three, 30)
    child(put_all, of_three, range(30)).end()
    assert reader.end() == list(range(30))


def test_each_item_reaches_one_of_several_readers(child, make_queue):
    q = make_queue()
    readers = [child(get_all, q, 50) for n in range(3)]
    put_all(q, range(150))
    assert sorted(item for reader in readers for item in reader.end()) == list(range(150))


def test_several_writers_keep_their_own_order(child, make_queue):
    q = make_queue()
    writers = [child(put_all, q, [(w, n) for n in range(100)]) for w in range(3)]
    got = get_all(q, 300)
    for writer in writers:
        writer.end()
    for w in range(3):
        assert [n for writer, n in got if writer == w] == list(range(100))


def test_a_child_inherits_a_global_queue(program):
    ended = program("""\
import multiprocessing
q = multiprocessing.Queue()
def work():
    q.put("inherited")
p = multiprocessing.Process(target=work)
p.start()
print(q.get())
p.join()
""").check()
    assert ended.stdout == "inherited\n"


def test_it_serves_the_processes_of_one_program_only(of_three):
    with pytest.raises(RuntimeError) as raised:
        pickle.dumps(of_three)
    assert str(raised.value) == "Queue objects should only be shared between processes through inheritance"


def test_the_way_recommended_raises_nothing(of_three):
    """Ask full() before writing, empty() and qsize() before reading: with one process that is safe."""
    for n in range(5):
        if not of_three.full():
            of_three.put_nowait(n)
    settle(of_three, 3)
    if not of_three.empty():
        assert [of_three.get(timeout=PATIENCE_S) for n in range(of_three.qsize())] == [0, 1, 2]


def test_printing_a_queue_names_its_class(mp, of_three):
    assert repr(of_three).startswith(f"<{'cmp' if mp.__name__ == 'cmp' else 'multiprocessing'}.queues.Queue ")


def test_items_put_before_the_end_arrive_after_it(child, make_queue):
    q = make_queue()
    child(put_all, q, range(100)).end()
    assert get_all(q, 100) == list(range(100))


# cmp alone: what its missing feeder thread makes exact


def test_cmp_has_an_item_as_soon_as_put_returns():
    import cmp

    q = cmp.Queue()
    for n in range(1000):
        q.put(n)
        assert not q.empty() and q.qsize() == 1
        assert q.get_nowait() == n
        assert q.empty() and q.qsize() == 0
    q.close()
