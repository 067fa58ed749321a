"""PyTorch: a DataLoader's workers, and tensors through queues and pools."""

import gc
import multiprocessing

import torch
from contexts import CONTEXTS
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Numbers(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        assert get_worker_info() is not None, "loaded in the main process"
        return torch.full((3, 4), float(index)), index


class Failing(Numbers):
    def __getitem__(self, index):
        raise ValueError(f"item {index}")


def produce(queue, taken):
    for n in range(5):
        queue.put(torch.full((1000,), float(n)))
    taken.wait(60)  # tensors are handed over by their producer, which has to live so long


def increment(tensor):
    tensor.add_(1)


def double(tensor):
    return (tensor * 2).sum()


def main():
    torch.set_num_threads(1)
    for method, context in CONTEXTS.items():
        for given in (method, context):
            seen = torch.zeros(64)
            for values, index in DataLoader(Numbers(), batch_size=8, num_workers=2, multiprocessing_context=given):
                seen[index] = values.sum(dim=(1, 2))
            assert torch.equal(seen, torch.arange(64.0) * 12)
        try:
            list(DataLoader(Failing(), num_workers=1, multiprocessing_context=context))
        except ValueError as error:
            assert "item 0" in str(error)
        else:
            raise AssertionError("the error of a worker was lost")
        gc.collect()  # the loader's iterator is in a cycle with that error, and its workers live as long as it does
        queue, taken = context.Queue(), context.Event()
        process = context.Process(target=produce, args=(queue, taken))
        process.start()
        assert [float(queue.get(timeout=60).mean()) for _ in range(5)] == [0, 1, 2, 3, 4]
        taken.set()
        process.join()
        assert process.exitcode == 0
        shared = torch.zeros(5).share_memory_()
        process = context.Process(target=increment, args=(shared,))
        process.start()
        process.join()
        assert shared.sum() == 5
        with context.Pool(2) as pool:
            found = pool.map(double, [torch.ones(10) * n for n in range(6)])
            assert [float(value) for value in found] == [20.0 * n for n in range(6)]
    assert multiprocessing.active_children() == []


if __name__ == "__main__":
    main()
