"""Counting words with map(): the shortest way from a list of tasks to a list of results."""

import multiprocessing
from collections import Counter

VERSES = [
    "the wheel turns and the mill grinds",
    "the mill grinds and the baker waits",
    "the baker waits and the town is hungry",
]


def count(verse):
    return Counter(verse.split())


def main():
    with multiprocessing.Pool() as pool:
        # Results come in the order of the arguments, whoever was first.
        total = sum(pool.map(count, VERSES), Counter())
        print(total.most_common(3))
        # imap() gives each result as soon as it is its turn, and does not wait for the last one.
        for number, words in enumerate(pool.imap(count, VERSES), 1):
            print(f"verse {number}: {len(words)} different words")


if __name__ == "__main__":
    main()
