"""The contenders as most questions want them: all of them, each with the settings to search."""

from typing import Any, NamedTuple

from contenders import CPUS, NAMESAKE
from runner import Entry, Settings, grid

CHUNKSIZES = {
    "tiny": (64,),
    "quick": (1024, 4096),
    "standard": (64, 256, 1024, 4096, 16384),
    "full": (16, 64, 256, 1024, 4096, 16384, 65536),
}


class Load(NamedTuple):
    """What a contender is given to do. Slow ones get fewer items; figures are per item."""

    parameters: dict[str, Any]
    amount: float


def entry(label: str, load: Load, *candidates: Settings, **options: Any) -> Entry:
    """The contender of that name; without candidates, as it is by default."""
    return Entry(label, label, load.parameters, load.amount, candidates or ({},), **options)


def chunked(label: str, load: Load, chunksizes: tuple[int, ...], **options: Any) -> Entry:
    """A contender for which the best chunksize is searched."""
    name = "chunk_size" if label == "mpire" else "chunksize"
    return entry(label, load, *grid(**{name: list(chunksizes)}), **options)


def all_for_short_items(load: Load, few: Load, chunksizes: tuple[int, ...]) -> list[Entry]:
    """For functions that compute: as many workers as CPUs, and as few threads as there can be."""
    return [
        entry("map", load),
        entry("fast_map", load),
        *(
            chunked(label, load, chunksizes)
            for label in ("Pool.imap", "Pool.imap_unordered", "ProcessPoolExecutor")
        ),
        chunked("mpire", few, chunksizes),
        entry("joblib", few, *grid(batch_size=["auto", chunksizes[-1]])),
        entry("ThreadPoolExecutor", few, *grid(workers=[1, CPUS])),
        entry(NAMESAKE, few, *grid(threads_limit=[CPUS, 4 * CPUS])),
    ]
