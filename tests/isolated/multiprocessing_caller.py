"""Call fast_map in processes of multiprocessing. Arguments: "Pool", "Executor" or "Process"; how
these are started."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from fast_map import fast_map


def total(number):
    return sum(fast_map(abs, iter(range(number))))


def put_total(results, number):
    results.put(total(number))


def main(kind, method):
    context = multiprocessing.get_context(method)
    if kind == "Pool":
        with context.Pool(2) as pool:
            print(pool.map(total, [10, 20, 30]))
    elif kind == "Executor":
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            print(list(executor.map(total, [10, 20, 30])))
    else:
        results = context.SimpleQueue()
        process = context.Process(target=put_total, args=(results, 20))
        process.start()
        print(results.get())
        process.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
