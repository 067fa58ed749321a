"""An error inside a task makes no noise: it waits until somebody asks for the result."""

import multiprocessing


def divide(a, b):
    return a / b


def main():
    with multiprocessing.Pool(2) as pool:
        good = pool.apply_async(divide, (6, 3))
        bad = pool.apply_async(divide, (6, 0))
        good.wait()
        bad.wait()
        print("both are done, and nothing was printed")
        print("successful:", good.successful(), bad.successful())
        print("6 / 3 =", good.get())
        try:
            bad.get()
        except ZeroDivisionError as error:
            print("6 / 0:", error)

        # Or leave a function that is called with the error, as soon as there is one.
        noted = []
        pool.apply_async(divide, (1, 0), error_callback=noted.append).wait()
        print("noted:", noted)

        # The other tasks of a map() are done all the same; the call itself raises.
        try:
            pool.starmap(divide, [(1, 1), (1, 0), (4, 2)])
        except ZeroDivisionError as error:
            print("starmap:", error)


if __name__ == "__main__":
    main()
