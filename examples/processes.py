"""Two processes cook side by side while the program that started them sets the table."""

import multiprocessing
import time


def cook(dish, minutes):
    time.sleep(minutes / 50)  # time flies in here
    print(f"{dish} is ready", flush=True)


def main():
    soup = multiprocessing.Process(target=cook, args=("soup", 20))
    # Positional or by name, as in any other call.
    cake = multiprocessing.Process(target=cook, kwargs={"dish": "cake", "minutes": 60})

    # So far there are two objects and no new process: start() makes it.
    print("cooking:", soup.is_alive(), cake.is_alive())
    soup.start()
    cake.start()
    print("the table is set", flush=True)

    # join() waits for the end, and leaves nothing of the process behind.
    soup.join()
    cake.join()
    print("exit codes:", soup.exitcode, cake.exitcode)


if __name__ == "__main__":
    main()
