"""A child starts with a copy of everything. From then on each changes its own."""

import multiprocessing

money = 100
list_of_gifts = []


def spend(answers):
    global money
    money -= 30
    list_of_gifts.append("a kite")
    answers.put((money, list_of_gifts))


def main():
    answers = multiprocessing.Queue()
    for name in ("first child", "second child"):
        child = multiprocessing.Process(target=spend, args=(answers,))
        child.start()
        print(f"{name}:", *answers.get())
        child.join()
    print("parent:", money, list_of_gifts)

    # What is meant to be shared has to be made for it.
    shared = multiprocessing.Value("i", 100)
    children = [multiprocessing.Process(target=spend_shared, args=(shared,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print("shared:", shared.value)


def spend_shared(shared):
    for _ in range(30):
        with shared.get_lock():  # reading and writing are two steps: let nobody in between
            shared.value -= 1


if __name__ == "__main__":
    main()
