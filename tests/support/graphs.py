"""Random object graphs with sharing and cycles, and the comparison of two graphs down to identity."""

from __future__ import annotations

import copy
import math
import random
from typing import Any


class Plain:
    """An instance as most are."""

    __hash__ = None  # type: ignore[assignment]  # two sets with such elements could not be compared by value

    def __init__(self, content: Any) -> None:
        self.content = content


class Slotted:
    """An instance that our own encoding leaves to pickle."""

    __slots__ = ("content",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, content: Any) -> None:
        self.content = content


def plain_function() -> None: ...


def difference(left: Any, right: Any) -> str | None:
    """Where two graphs differ in type, value or identity; None if nowhere.

    Identity means: whenever two places of one graph hold the same object, so do these places of the other, ints
    and floats included.
    """
    there: dict[int, Any] = {}
    back: dict[int, Any] = {}
    todo: list[tuple[str, Any, Any]] = [("", left, right)]
    while todo:
        place, a, b = todo.pop()
        if type(a) is not type(b):
            return f"{place}: {type(a)} against {type(b)}"
        if id(a) in there or id(b) in back:
            if there.get(id(a)) is not b or back.get(id(b)) is not a:
                return f"{place}: another object than before, {a!r:.60}"
            continue
        there[id(a)] = b
        back[id(b)] = a
        if isinstance(a, (list, tuple)):
            if len(a) != len(b):
                return f"{place}: {len(a)} items against {len(b)}"
            todo += [(f"{place}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
        elif isinstance(a, dict):
            if len(a) != len(b):
                return f"{place}: {len(a)} keys against {len(b)}"
            for i, (x, y) in enumerate(zip(a.items(), b.items(), strict=True)):
                todo += [(f"{place}.key{i}", x[0], y[0]), (f"{place}.value{i}", x[1], y[1])]
        elif isinstance(a, (set, frozenset)):
            if a != b:
                return f"{place}: {a!r:.60} against {b!r:.60}"
            # Elements are paired by value; floats that are not equal to themselves are kept out by graph().
            others = {x: x for x in b}
            todo += [(f"{place}{{}}", x, others[x]) for x in a]
        elif isinstance(a, (Plain, Slotted)):
            todo.append((f"{place}.content", a.content, b.content))
        elif isinstance(a, float):
            if not (a == b or (math.isnan(a) and math.isnan(b))) or math.copysign(1, a) != math.copysign(1, b):
                return f"{place}: {a!r} against {b!r}"
        elif a != b:
            return f"{place}: {a!r:.60} against {b!r:.60}"
    return None


def atom(rng: random.Random) -> Any:
    kind = rng.randrange(12)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.randrange(-300, 300)
    if kind == 2:
        bits = rng.choice([7, 8, 15, 16, 31, 32, 60, 63, 64, 65, 200])
        return rng.choice([-1, 1]) * (2**bits + rng.randrange(-2, 3))
    if kind == 3:
        return rng.choice([0.0, -0.0, 1.5, math.inf, float(rng.randrange(10**9)) / 7])
    if kind in (4, 5, 6):
        alphabet = rng.choice(["ab", "a\xe9\xff", "a\u4e2d\u6587", "a\U0001f600", "\ud800a", "\0"])
        return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 1, 2, 3, 10, 300])))
    if kind == 7:
        return rng.choice(["alpha", "beta", "gamma", "name", "id"])  # interned, as most keys are
    if kind in (8, 9):
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 2, 5, 40])))
    if kind == 10:
        return rng.choice([len, int, Plain, plain_function])
    return rng.choice([b"x", b"y"]) * rng.choice([4095, 4096, 5000])


def is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def graph(rng: random.Random, instances: bool = False) -> Any:
    """A graph of up to some twenty containers. Without other references to its parts than its own."""
    nodes: list[Any] = [atom(rng) for _ in range(rng.randrange(1, 12))]

    def some(most: int = 6) -> list[Any]:
        return [rng.choice(nodes) for _ in range(rng.randrange(most))]

    def some_hashable() -> list[Any]:
        return [node for node in some() if is_hashable(node) and not isinstance(node, float)]

    for _ in range(rng.randrange(12)):
        kind = rng.randrange(11 if instances else 9)
        if kind in (0, 1):
            nodes.append(some())
        elif kind in (2, 3):
            nodes.append(tuple(some()))
        elif kind in (4, 5):
            nodes.append({key: rng.choice(nodes) for key in some_hashable()})
        elif kind == 6:
            nodes.append(rng.choice([set, frozenset])(some_hashable()))
        elif kind == 7:
            one = rng.choice([0, 1000, 10**10, 2**70, 0.5])
            nodes.append(rng.choice([list, tuple])([one + i for i in range(rng.randrange(20))]))
        elif kind == 8:
            mutable = [node for node in nodes if type(node) in (list, dict)]
            if mutable:
                target = rng.choice(mutable)
                if type(target) is list:
                    target.append(rng.choice(nodes))
                else:
                    target[rng.randrange(5)] = rng.choice(nodes)
        else:
            nodes.append((Plain if kind == 9 or rng.randrange(4) else Slotted)(rng.choice(nodes)))
            nodes.append(nodes[-1])  # chosen more often
            plain = [node for node in nodes if type(node) is Plain]
            if plain and rng.randrange(2):
                rng.choice(plain).content = rng.choice(nodes)  # perhaps a cycle
    root = rng.choice([nodes[-1], nodes[-1], some(), tuple(some())])
    # A copy has the same identity graph, but reference counts as low as they can be.
    return copy.deepcopy(root) if rng.randrange(2) else root
