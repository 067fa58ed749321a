"""Who am I? Each process has a name, for people, and a number, for the system."""

import multiprocessing
import os
import threading


def introduce(answers):
    me = multiprocessing.current_process()
    answers.put(
        {
            "name": me.name,
            "thread": threading.current_thread().name,
            "pid": os.getpid(),
            "parent": multiprocessing.parent_process().name,
        }
    )


def main():
    print("this is", multiprocessing.current_process().name)
    answers = multiprocessing.Queue()
    for settings in ({}, {"name": "accountant"}, {}):
        child = multiprocessing.Process(target=introduce, args=(answers,), **settings)
        child.start()
        answer = answers.get()
        child.join()
        # Numbers differ from run to run, so the example only compares them.
        right = answer["pid"] == child.pid != os.getpid()
        print(f"child of {answer['parent']}: {answer['name']}, in its {answer['thread']}, pid right: {right}")


if __name__ == "__main__":
    main()
