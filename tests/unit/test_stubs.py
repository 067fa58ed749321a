"""cmp/_core.pyi is the truth about cmp._core: every name of the one is in the other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cmp
import cmp.pool  # which completes the class
from cmp import _core

STUB = ast.parse(Path(cmp.__file__).with_name("_core.pyi").read_text())
# What every heap type has, and what object gives: not worth a line in the stub.
INHERITED = set(dir(object)) | {"__dict__", "__weakref__", "__module__", "__doc__", "__slots__"}


def names_in(body: list[ast.stmt]) -> set[str]:
    """The names that statements of a stub bind."""
    names = set()
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, ast.AnnAssign):
            names.add(statement.target.id)
        elif isinstance(statement, ast.Assign):
            names.update(target.id for target in statement.targets)
    return names


CLASSES = {statement.name: statement for statement in STUB.body if isinstance(statement, ast.ClassDef)}


def test_the_stub_names_what_the_module_has():
    there = {name for name in vars(_core) if not name.startswith("__")}
    assert names_in(STUB.body) == there


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_stub_of_a_class_names_its_members(name):
    cls, stubbed = getattr(_core, name), names_in(CLASSES[name].body)
    if issubclass(cls, Warning):
        return
    missing = {member for member in vars(cls) if member not in INHERITED and not member.startswith("__")} - stubbed
    invented = {member for member in stubbed if not hasattr(cls, member)}
    assert (missing, invented) == (set(), set())
