"""progress=: a bar by tqdm that counts finished items.

The extension calls what make_bar() returns, about ten times a second while the map is consumed or
waited for, and once at its end; see src/python/progress.c.
"""

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TextIO

_Show = Callable[[int, bool], None]

# Between two lines where output is not a terminal, as in a log file.
_SECONDS_PER_LINE = 10.0


def check_progress(progress: bool | str) -> None:
    """Before any work begins: the type, and that there is something to draw a bar with."""
    if not isinstance(progress, (bool, str)):
        kind = type(progress).__name__
        raise TypeError(f"progress must be True, False or a description, not {kind!r}")
    if progress is not False:
        try:
            import tqdm.auto  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "progress needs tqdm, which is not installed: pip install 'fast_map[progress]'"
            ) from error


def make_bar(progress: str | bool, total: int | None) -> _Show | None:
    """What shows the count of finished items; None where there is nothing to show it on."""
    description = progress if isinstance(progress, str) else ""
    from tqdm import asyncio, auto

    is_notebook = auto.tqdm is not asyncio.tqdm
    if is_notebook or (sys.stderr is not None and sys.stderr.isatty()):
        return _Bar(auto.tqdm, description, total).show
    return _Lines(sys.stderr, description, total).show if sys.stderr is not None else None


class _Bar:
    """A bar of tqdm's own, in a terminal or a notebook."""

    def __init__(self, kind: Any, description: str, total: int | None) -> None:
        # No thread of tqdm's beside ours: this process may be about to fork again. And none but us
        # closes the bar: of a map in a cycle the collector may finalize the bar first, which would
        # close it with what it showed before.
        ours = type("Bar", (kind,), {"monitor_interval": 0, "__del__": lambda bar: None})
        self._bar = ours(
            desc=description or None,
            total=total,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def show(self, finished: int, is_last: bool) -> None:
        self._bar.n = finished
        # tqdm itself would not let go of its lock if drawing raised an exception, such as Ctrl-C.
        with self._bar.get_lock():
            if is_last:
                self._close()
            else:
                self._bar.refresh(nolock=True)

    def _close(self) -> None:
        """Leave the last drawing on the cursor's line and go to the next one. With tqdm's lock.

        Bars below count their lines from the cursor's. tqdm itself does not tell them that it has
        moved: from then on they would draw one line too low, and leave their old drawing behind.
        """
        place = abs(getattr(self._bar, "pos", 0))
        # close() takes the lock for itself, which need not be one that can be taken twice.
        type(self._bar)._lock = nullcontext()
        self._bar.close()
        for other in getattr(self._bar, "_instances", ()):
            if getattr(other, "pos", 0) > place:
                other.pos -= 1


class _Lines:
    """A line of text from time to time, where a bar would fill the file with control characters."""

    def __init__(self, file: TextIO, description: str, total: int | None) -> None:
        self._file = file
        self._description = f"{description}: " if description else ""
        self._total = total
        self._start = self._last = time.monotonic()

    def show(self, finished: int, is_last: bool) -> None:
        now = time.monotonic()
        if not is_last and now - self._last < _SECONDS_PER_LINE:
            return
        self._last = now
        print(self._describe(finished, now - self._start), file=self._file, flush=True)

    def _describe(self, finished: int, elapsed: float) -> str:
        from tqdm import tqdm

        count = "{n_fmt}it [{elapsed}, {rate_fmt}]"
        # A total that has turned out to be too low is none, as in tqdm's bars.
        if self._total and finished <= self._total:
            count = "{percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"
        line: str = tqdm.format_meter(
            finished,
            self._total,
            elapsed,
            prefix=self._description,
            bar_format="{desc}" + count,
        )
        return line
