"""Only the main process can ask the user: the standard input of a child is empty."""

import multiprocessing


def ask(answers):
    try:
        answers.put(input())
    except EOFError:
        answers.put("nothing to read in the child")


def greet(name, answers):
    answers.put(f"good day, {name}")


def main():
    answers = multiprocessing.Queue()
    child = multiprocessing.Process(target=ask, args=(answers,))
    child.start()
    print(answers.get())
    child.join()

    # So ask in the main process, and hand the answer down.
    try:
        name = input()
    except EOFError:  # nobody at the keyboard
        name = "whoever you are"
    child = multiprocessing.Process(target=greet, args=(name, answers))
    child.start()
    print(answers.get())
    child.join()


if __name__ == "__main__":
    main()
