"""How the clients of a manager connect to it, where the standard library's way could wait for ever."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from multiprocessing import connection

__all__ = ["client", "client_in_time"]

# A peer that has gone without a word: its machine has, or it ended while the connection came about (Linux can then
# forget the listener's half of one that the other side believes in). It is asked for a sign of life after so many
# seconds of silence, and given up when so many questions have found no answer. Who is stopped or busy still answers:
# its kernel does.
IDLE_S, QUESTIONS = 10, 12


def _keeps_asking() -> list[tuple[int, int, int]]:
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, QUESTIONS),
    ]


def _connect(address, authkey: bytes | None, options: Iterable[tuple]) -> connection.Connection:
    """What connection.Client does, on a socket with these options."""
    with socket.socket(getattr(socket, connection.address_type(address))) as sock:
        for option in options:
            sock.setsockopt(*option)
        if sock.family == socket.AF_INET:  # two short words in a row, as of a challenge, wait for no acknowledgement
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
        conn = connection.Connection(sock.detach())
    try:
        if authkey is not None:
            connection.answer_challenge(conn, authkey)
            connection.deliver_challenge(conn, authkey)
    except BaseException:
        conn.close()
        raise
    return conn


def client(address, family=None, authkey=None) -> connection.Connection:
    """connection.Client; by TCP it notices that the other side is gone even where nobody tells it."""
    if (family or connection.address_type(address)) != "AF_INET" or not isinstance(authkey, (bytes, type(None))):
        return connection.Client(address, family, authkey)
    return _connect(address, authkey, _keeps_asking())


def client_in_time(seconds: float, address, authkey) -> connection.Connection:
    """connection.Client, whose every step raises after so long."""
    limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6) or 1)  # 0 and 0 would be no limit
    limits = [(socket.SOL_SOCKET, which, limit) for which in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)]
    return _connect(address, authkey, limits)
