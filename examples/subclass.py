"""A class of one's own: what it needs to know goes into __init__, what it does goes into run()."""

import multiprocessing


class Adder(multiprocessing.Process):
    """Adds up the numbers it finds in a queue, until it finds None."""

    def __init__(self, numbers, sums, **settings):
        super().__init__(**settings)  # first: it makes the attributes of every process
        self.numbers = numbers
        self.sums = sums
        self.total = 0

    def run(self):
        for number in iter(self.numbers.get, None):
            self.total += number
        self.sums.put((self.name, self.total))


def main():
    numbers, sums = multiprocessing.Queue(), multiprocessing.Queue()
    adder = Adder(numbers, sums, name="adder")
    adder.start()  # calls run() in the new process
    for number in [*range(1, 101), None]:
        numbers.put(number)
    print(*sums.get())
    adder.join()
    print("its total, seen from here:", adder.total)  # the child counted in a copy of the object


if __name__ == "__main__":
    main()
