"""concurrent.futures' process pools, alone and under asyncio."""

import asyncio
import concurrent.futures
import os

from contexts import CONTEXTS


def square(x):
    if x == 13:
        raise ValueError(x)
    return x * x


def end(code):
    os._exit(code)


async def in_executor(pool):
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(pool, square, n) for n in range(10)))


def main():
    for context in CONTEXTS.values():
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(square, range(10), chunksize=3)) == [n * n for n in range(10)]
            assert isinstance(pool.submit(square, 13).exception(), ValueError)
            assert asyncio.run(in_executor(pool)) == [n * n for n in range(10)]
            big = pool.submit(bytes, 3_000_000).result()
            assert len(big) == 3_000_000
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            broken = pool.submit(end, 1).exception()
            assert isinstance(broken, concurrent.futures.process.BrokenProcessPool), broken


if __name__ == "__main__":
    main()
