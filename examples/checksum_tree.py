"""Print the SHA-256, size and zlib-compressed size of every file below a folder.

It shows work on real files whose results are printed in path order while later files are still
being read. Symbolic links and __pycache__ folders are left out.

Run it with:  python examples/checksum_tree.py [DIR] [--limit N]
Compare with: python examples/checksum_tree.py [DIR] [--limit N] --compare
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
import sysconfig
import time
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from _common import compare, exit_with, folder, positive

from fast_map import fast_map

READ_SIZE = 1 << 20


class Checksum(NamedTuple):
    path: str
    sha256: str = ""
    size: int = 0
    compressed: int = 0
    error: str = ""


def checksum(path: str) -> Checksum:
    """Read one file piece by piece; a file that cannot be read is reported, not raised."""
    digest = hashlib.sha256()
    compressor = zlib.compressobj()
    size = compressed = 0
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(READ_SIZE):
                digest.update(piece)
                compressed += len(compressor.compress(piece))
                size += len(piece)
    except OSError as error:
        return Checksum(path, error=error.strerror or str(error))
    compressed += len(compressor.flush())
    return Checksum(path, digest.hexdigest(), size, compressed)


def regular_files(folder: str) -> list[str]:
    def report(error: OSError) -> None:
        print(f"skipped {error.filename}: {error.strerror}", file=sys.stderr)

    paths = []
    for parent, folders, names in os.walk(folder, onerror=report):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path):
                paths.append(path)
    return sorted(paths)


def line_for(result: Checksum) -> str:
    path = result.path if result.path.isprintable() else ascii(result.path)
    if result.error:
        return f"unreadable: {path} ({result.error})"
    return f"{result.sha256} {result.size:>10} {result.compressed:>10} {path}"


def print_checksums(paths: list[str]) -> None:
    files = size = compressed = unreadable = 0
    started = time.perf_counter()
    for result in fast_map(checksum, paths):
        print(line_for(result), flush=True)
        files += not result.error
        unreadable += bool(result.error)
        size += result.size
        compressed += result.compressed
    seconds = time.perf_counter() - started
    print(
        f"{files} files, {size} bytes, {compressed} compressed, "
        f"{unreadable} unreadable, {seconds:.2f} seconds"
    )


def with_fast_map(paths: list[str]) -> list[Checksum]:
    return list(fast_map(checksum, paths))


def with_builtin_map(paths: list[str]) -> list[Checksum]:
    return list(map(checksum, paths))


def with_pool(paths: list[str]) -> list[Checksum]:
    with multiprocessing.Pool() as pool:
        return list(pool.imap(checksum, paths))


def with_tuned_pool(paths: list[str]) -> list[Checksum]:
    with multiprocessing.Pool() as pool:
        return list(pool.imap(checksum, paths, chunksize=16))


CONTENDERS = {
    "fast_map": with_fast_map,
    "Pool.imap": with_pool,
    "Pool.imap, chunksize=16": with_tuned_pool,
    "builtin map": with_builtin_map,
}


def read_once(paths: list[str]) -> None:
    """Bring the files into the page cache, so that going first is no handicap."""
    for path in paths:
        try:
            with open(path, "rb", buffering=0) as file:
                while file.read(READ_SIZE):
                    pass
        except OSError:
            pass


def describe(results: list[Checksum]) -> str:
    return f"{len(results)} files"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Print the SHA-256, size and compressed size of every file below DIR."
    )
    parser.add_argument(
        "dir",
        metavar="DIR",
        nargs="?",
        type=folder,
        default=sysconfig.get_paths()["stdlib"],
        help="folder to read (default: the standard library, %(default)s)",
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="only the first N files")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="time fast_map against multiprocessing.Pool.imap and the builtin map instead",
    )
    options = parser.parse_args(arguments)
    paths = regular_files(options.dir)[: options.limit]
    if options.compare:
        read_once(paths)
        return compare(CONTENDERS, paths, describe=describe)
    print_checksums(paths)
    return 0


if __name__ == "__main__":
    exit_with(main)
