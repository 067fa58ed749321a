"""What becomes of exceptions in a pool: their types, arguments and causes; iterators that go on; callbacks."""

import multiprocessing
import sys


class Coded(Exception):
    def __init__(self, text, code):
        super().__init__(text)
        self.code = code

    def __reduce__(self):
        return Coded, (self.args[0], self.code)


def raise_coded():
    raise Coded("coded", 7)


def raise_from():
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        raise KeyError("key") from error


def raise_os_error():
    raise OSError(2, "not there", "name")


def raise_stop():
    raise StopIteration("stop")


def odd_only(number):
    if number % 2 == 0:
        raise ValueError(f"{number} is even")
    return number


def broken():
    yield from range(3)
    raise LookupError("the iterable broke")


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with multiprocessing.Pool(2) as pool:
        for function in (raise_coded, raise_from, raise_os_error, raise_stop):
            try:
                pool.apply(function)
            except Exception as error:
                print(repr(error), vars(error), type(error.__cause__).__name__)
        for call in (pool.map, pool.starmap):
            try:
                call(odd_only, [1, 2] if call == pool.map else [(1,), (2,)])
            except ValueError as error:
                print(error)
        numbers, got = pool.imap(odd_only, range(6)), []
        while True:
            try:
                got.append(next(numbers))
            except StopIteration:
                break
            except ValueError as error:
                got.append(str(error))
        print(got)
        got = []
        try:
            for number in pool.imap(abs, broken()):
                got.append(number)
        except LookupError as error:
            print(got, error)
        try:
            pool.map(abs, broken())
        except LookupError as error:
            print(error)
        good, bad = [], []
        results = [
            pool.apply_async(odd_only, (n,), callback=good.append, error_callback=lambda e: bad.append(str(e)))
            for n in range(4)
        ]
        for result in results:
            result.wait()
        print(sorted(good), sorted(bad), [result.successful() for result in results])
        try:
            pool.apply(raise_coded)
        except Coded as error:
            print(error.code, "RemoteTraceback" in repr(error.__cause__), "in raise_coded" in str(error.__cause__))
        pool.close()
        try:
            pool.apply(abs, (1,))
        except ValueError as error:
            print(error)
        pool.join()
