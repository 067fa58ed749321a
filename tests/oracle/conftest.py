"""What tests of both implementations share."""

from __future__ import annotations

import pytest
from support.children import blocked_child


@pytest.fixture
def blocked(mp):
    """A living child that waits for ever."""
    with blocked_child(mp) as process:
        yield process


@pytest.fixture(params=["Queue", "JoinableQueue"])
def make_queue(request, mp):
    """Makes a queue, of either kind that has a size."""
    return getattr(mp, request.param)


@pytest.fixture
def manager(mp):
    with mp.Manager() as manager:
        yield manager
