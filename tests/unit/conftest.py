"""What tests of cmp alone share."""

from __future__ import annotations

import pytest
from support.children import blocked_child

import cmp


@pytest.fixture
def q():
    return cmp.Queue()


@pytest.fixture
def blocked():
    """A living child that waits for ever."""
    with blocked_child(cmp) as process:
        yield process
