"""Objects of many kinds go through a queue and come back as they were, shared and circular ones included."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import multiprocessing
import pathlib
import sys
import types
import uuid


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int
    names: list


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"


Pair = collections.namedtuple("Pair", "left right")


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"Slotted({self.value!r})"


class Extended(dict):
    pass


def echo(incoming, outgoing):
    while (thing := incoming.get()) is not StopIteration:
        outgoing.put(thing)


THINGS = [
    *(Frozen(1, ["a"]), Colour.GREEN, Pair(1, (2,)), Slotted([1]), Extended(key=1), types.SimpleNamespace(a=1)),
    *(decimal.Decimal("1.10"), fractions.Fraction(1, 3), complex(1, 2), 10**40, -(2**63), 2**63, float("-inf"), True),
    *(datetime.datetime(2020, 1, 1), uuid.UUID(int=5), pathlib.PurePosixPath("/x")),
    *(collections.OrderedDict(a=1), collections.deque([1], 3), collections.Counter("aab"), frozenset([1]), {2, 3}),
    *(slice(1, 2), range(5), Ellipsis, NotImplemented, int, len, ValueError("x", 1), bytearray(b"x")),
    *("\u00e9\U0001f600", "\ud800", b"\0" * 5, [[]], ({},), {1: {2: {3: (4, [5])}}}, None),
]

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    there, back = multiprocessing.Queue(), multiprocessing.Queue()
    process = multiprocessing.Process(target=echo, args=(there, back))
    process.start()
    for thing in THINGS:
        there.put(thing)
        got = back.get()
        print(type(got).__name__, ascii(got))
    one = [1]
    there.put([one, one])
    first, second = back.get()
    circle = []
    circle.append(circle)
    there.put(circle)
    got = back.get()
    print(first is second, got[0] is got)
    there.put(StopIteration)
    process.join()
    with multiprocessing.Pool(2) as pool:
        print(pool.map(ascii, THINGS) == [ascii(thing) for thing in THINGS])
