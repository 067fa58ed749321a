"""Other packages, each behind the few names of multiprocessing that a row needs.

An adapter has only what its package has; a row that asks for more is absent for it. Where a package brings no
Process of its own the standard library's starts the workers, which no row times.
"""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bench.impls import namespace


def billiard(op_bytes: int) -> Any:
    return importlib.import_module("billiard")


def faster_fifo(op_bytes: int) -> Any:
    package = importlib.import_module("faster_fifo")
    importlib.import_module("faster_fifo_reduction")

    class Queue:
        """Its ring as large as by default, or so that a few of the row's large items fit; names as cmp has them."""

        def __init__(self) -> None:
            self.ring = package.Queue(max_size_bytes=max(1_000_000, 4 * op_bytes))
            self.put, self.get = self.ring.put, self.ring.get

        def put_many(self, items: Iterable[Any]) -> None:
            self.ring.put_many(list(items))

        def get_many(self, maximum: int, block: bool = True, timeout: float = 10.0) -> list[Any]:
            return self.ring.get_many(block=block, timeout=timeout, max_messages_to_get=maximum)  # type: ignore[no-any-return]

    return namespace(Queue=Queue, Process=multiprocessing.Process)


class _Result:
    """A future, as an AsyncResult."""

    def __init__(self, future: Any) -> None:
        self.get = future.result


class _ExecutorPool:
    """concurrent.futures.Executor with Pool's names."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    def apply(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.executor.submit(function, *args).result()

    def apply_async(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> _Result:
        return _Result(self.executor.submit(function, *args))

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int = 1) -> list[Any]:
        return list(self.executor.map(function, items, chunksize=chunksize))

    def imap(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.executor.map(function, items))

    def starmap(self, function: Callable[..., Any], pairs: list[Any]) -> list[Any]:
        # chunksize as Pool would choose it: four chunks for each of its workers
        return list(self.executor.map(function, *zip(*pairs, strict=True), chunksize=max(1, len(pairs) // 8)))

    def close(self) -> None:
        self.executor.shutdown(wait=False)

    def join(self) -> None:
        self.executor.shutdown(wait=True)

    terminate = join

    def __enter__(self) -> _ExecutorPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.join()


def concurrent_futures(op_bytes: int) -> Any:
    futures = importlib.import_module("concurrent.futures")
    context = multiprocessing.get_context("fork")
    return namespace(Pool=lambda n: _ExecutorPool(futures.ProcessPoolExecutor(n, mp_context=context)))


def loky(op_bytes: int) -> Any:
    package = importlib.import_module("loky")
    return namespace(Pool=lambda n: _ExecutorPool(package.ProcessPoolExecutor(n)))


class _PebblePool(_ExecutorPool):
    def apply(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.executor.schedule(function, args=args).result()

    def apply_async(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> _Result:
        return _Result(self.executor.schedule(function, args=args))

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int = 1) -> list[Any]:
        return list(self.executor.map(function, items, chunksize=chunksize).result())

    def imap(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.executor.map(function, items).result())

    def starmap(self, function: Callable[..., Any], pairs: list[Any]) -> list[Any]:
        return list(self.executor.map(function, *zip(*pairs, strict=True), chunksize=max(1, len(pairs) // 8)).result())

    def close(self) -> None:
        self.executor.close()

    def join(self) -> None:
        self.executor.close()
        self.executor.join()

    terminate = join


def pebble(op_bytes: int) -> Any:
    package = importlib.import_module("pebble")
    context = multiprocessing.get_context("fork")
    return namespace(Pool=lambda n: _PebblePool(package.ProcessPool(max_workers=n, context=context)))


class _MpirePool:
    """mpire's WorkerPool; its workers stay alive between calls as Pool's do."""

    def __init__(self, workers: int) -> None:
        self.pool = importlib.import_module("mpire").WorkerPool(n_jobs=workers, keep_alive=True)

    def apply(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.pool.apply(function, args)

    def apply_async(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.pool.apply_async(function, args)

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int = 1) -> list[Any]:
        # mpire takes a NumPy array apart, and turns a list of them into one: as a plain list both stay ours.
        items = list(items)
        return self.pool.map(function, items, chunk_size=chunksize, concatenate_numpy_output=False)  # type: ignore[no-any-return]

    def imap(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        items = list(items)
        return iter(self.pool.imap(function, items, chunk_size=1))

    def starmap(self, function: Callable[..., Any], pairs: list[Any]) -> list[Any]:
        return self.pool.map(function, pairs)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.pool.stop_and_join()

    def join(self) -> None:
        pass

    def terminate(self) -> None:
        self.pool.terminate()

    def __enter__(self) -> _MpirePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.terminate()


def mpire(op_bytes: int) -> Any:
    importlib.import_module("mpire")
    return namespace(Pool=_MpirePool)


class _JoblibPool:
    """joblib.Parallel kept open: it has one call, so only the map-like rows."""

    def __init__(self, workers: int) -> None:
        self.joblib = importlib.import_module("joblib")
        self.parallel = self.joblib.Parallel(n_jobs=workers)
        self.parallel.__enter__()

    def map(self, function: Callable[..., Any], items: Iterable[Any], chunksize: int = 1) -> list[Any]:
        self.parallel.batch_size = chunksize
        return list(self.parallel(self.joblib.delayed(function)(item) for item in items))

    def starmap(self, function: Callable[..., Any], pairs: list[Any]) -> list[Any]:
        self.parallel.batch_size = max(1, len(pairs) // 8)
        return list(self.parallel(self.joblib.delayed(function)(*pair) for pair in pairs))

    def close(self) -> None:
        self.parallel.__exit__(None, None, None)
        importlib.import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)

    def join(self) -> None:
        pass

    def terminate(self) -> None:
        pass

    def __enter__(self) -> _JoblibPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def joblib(op_bytes: int) -> Any:
    importlib.import_module("joblib")
    return namespace(Pool=_JoblibPool)


ADAPTERS: dict[str, Callable[[int], Any]] = {
    "billiard": billiard,
    "faster-fifo": faster_fifo,
    "concurrent.futures": concurrent_futures,
    "loky": loky,
    "mpire": mpire,
    "pebble": pebble,
    "joblib": joblib,
}
