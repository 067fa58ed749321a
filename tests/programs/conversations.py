"""Pipes, connection.wait, and a Listener with its Clients, one of whom has the wrong key."""

import multiprocessing
import os
import sys
from multiprocessing.connection import Client, Listener, wait


def echo(conn):
    while (message := conn.recv()) != "stop":
        conn.send({"echo": message})
    conn.send_bytes(b"bye")
    conn.close()


def count(writer, name):
    for number in range(3):
        writer.send((name, number))
    writer.close()


def call(address, key):
    with Client(address, authkey=key) as conn:
        conn.send([2.5, None, float])
        print("client:", conn.recv(), flush=True)


def call_with_a_wrong_key(address):
    try:
        call(address, b"wrong")
    except multiprocessing.AuthenticationError as error:
        print("client:", error, flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=echo, args=(there,))
    process.start()
    there.close()
    for message in (1, "two", [3.0], None):
        here.send(message)
        print(here.recv())
    here.send("stop")
    print(here.recv_bytes(), here.poll(100))
    try:
        here.recv()
    except EOFError:
        print("the end")
    process.join()

    readers, processes = [], []
    for name in "abc":
        reader, writer = multiprocessing.Pipe(duplex=False)
        processes.append(multiprocessing.Process(target=count, args=(writer, name)))
        processes[-1].start()
        writer.close()
        readers.append(reader)
    got = []
    while readers:
        for reader in wait(readers):
            try:
                got.append(reader.recv())
            except EOFError:
                readers.remove(reader)
    print(sorted(got))
    sentinels = {process.sentinel for process in processes}
    while sentinels:
        sentinels.difference_update(wait(sentinels))
    for process in processes:
        process.join()

    with Listener(authkey=b"right") as listener:
        client = multiprocessing.Process(target=call, args=(listener.address, b"right"))
        sys.stdout.flush()
        client.start()
        with listener.accept() as conn:
            print("server:", conn.recv(), flush=True)
            conn.send("thank you")
            client.join()
        stranger = multiprocessing.Process(target=call_with_a_wrong_key, args=(listener.address,))
        stranger.start()
        try:
            listener.accept()
        except multiprocessing.AuthenticationError as error:
            stranger.join()
            print("server:", error)
    assert os.getpid() != client.pid
