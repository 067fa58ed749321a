"""Managers: their own kinds of objects, a class of the program's, and one that is reached by an address."""

import multiprocessing
import queue
import sys
from multiprocessing.managers import BaseManager, SyncManager


class Account:
    def __init__(self, balance):
        self.balance = balance

    def add(self, amount):
        self.balance += amount
        return self.balance

    def history(self):
        return [self.balance]


class Bank(SyncManager):
    pass


Bank.register("Account", Account, exposed=("add", "history"))
letters: queue.Queue = queue.Queue()


class PostOffice(BaseManager):
    pass


PostOffice.register("letters", callable=lambda: letters)


def work(numbers, squares, space, lock, number):
    squares[number] = number * number
    numbers.append(number)
    with lock:
        space.total += number


def deposit(account):
    for _ in range(20):
        account.add(1)


def write(address):
    office = PostOffice(address=address, authkey=b"stamp")
    office.connect()
    office.letters().put("from far away")


def start_and_join(*processes):
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    Process = multiprocessing.Process
    with multiprocessing.Manager() as manager:
        numbers, squares, space, lock = manager.list(), manager.dict(), manager.Namespace(total=0), manager.Lock()
        print(start_and_join(*(Process(target=work, args=(numbers, squares, space, lock, n)) for n in range(4))))
        print(sorted(numbers), dict(sorted(squares.items())), space)
        squares["list"] = manager.list([1])
        squares["list"].append(2)
        print(list(squares["list"]))
        tasks = manager.Queue(2)
        tasks.put(1)
        tasks.put(2)
        try:
            tasks.put(3, timeout=0.01)
        except queue.Full:
            print("full", tasks.qsize())
        with multiprocessing.Pool(2) as pool:
            print(sorted(pool.starmap(tasks.get, [()] * 2)), tasks.empty())
        event, semaphore, barrier = manager.Event(), manager.BoundedSemaphore(1), manager.Barrier(1)
        event.set()
        print(event.wait(1), semaphore.acquire(), semaphore.acquire(False), barrier.wait())
        try:
            squares["missing"]
        except KeyError as error:
            print(repr(error))

    with Bank() as bank:
        account = bank.Account(100)
        print(start_and_join(*(Process(target=deposit, args=(account,)) for _ in range(2))))
        print(account.add(0), account.history())
        try:
            account.balance  # noqa: B018
        except AttributeError as error:
            print(error)

    office = PostOffice(address=("127.0.0.1", 0), authkey=b"stamp")
    office.start()
    print(start_and_join(Process(target=write, args=(office.address,))))
    print(office.letters().get())
    office.shutdown()
