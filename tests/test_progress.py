"""progress=: a bar in a terminal, lines in a log file, and nothing that stays."""

import asyncio
import builtins
import gc
import io
import os
import re
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import Gate, identity, leaves_nothing, run_script, wait_until

from fast_map import _progress, fast_map, fast_map_async

tqdm = pytest.importorskip("tqdm").tqdm

SCRIPT = "with_progress.py"


class Terminal(io.StringIO):
    is_broken = False

    def isatty(self):
        return True

    def write(self, text):
        if self.is_broken:
            raise LookupError("broken")
        return super().write(text)

    def bar(self):
        """The last drawing of the bar: its percentage or None, the count, and the total or None."""
        last = self.getvalue().rstrip().rpartition("\r")[2]
        found = re.search(r"(?:(\d+)%\|.*\| )?(\d+)(?:/(\d+)|it) \[", last)
        parts = found.groups() if found else (None, "0", None)
        return tuple(int(part) if part else None for part in parts)


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    # Not sys.stderr itself, which pytest sets again after the fixtures.
    monkeypatch.setattr(_progress, "sys", SimpleNamespace(stderr=terminal))
    return terminal


@pytest.fixture(autouse=True)
def width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")


# What it shows


def test_it_shows_the_length_and_the_description(terminal):
    assert list(fast_map(identity, range(30), progress="numbers")) == list(range(30))
    assert terminal.bar() == (100, 30, 30)
    assert "numbers" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


@pytest.mark.parametrize("name", ["total", "tasks_count_estimate"])
def test_it_shows_the_total_that_is_given(terminal, name):
    assert list(fast_map(identity, iter(range(30)), progress=True, **{name: 60})) == [*range(30)]
    assert terminal.bar() == (50, 30, 60)


def test_it_shows_no_total_that_is_not_known(terminal):
    list(fast_map(identity, iter(range(30)), progress=True))
    assert terminal.bar() == (None, 30, None)


def test_an_empty_input(terminal):
    assert list(fast_map(identity, [], progress=True)) == []
    assert terminal.getvalue().endswith("\n")


def test_it_counts_finished_items_behind_a_slow_one_and_moves_on(terminal):
    def work(number):
        return gate.hold(number) if number == 0 else number

    def numbers():
        yield from range(10)
        seen.append(wait_until(lambda: terminal.bar()[1] == 9))
        yield from range(10, 20)
        seen.append(wait_until(lambda: terminal.bar()[1] == 19))
        gate.open()

    gate, seen = Gate(), []
    assert list(fast_map(work, numbers(), progress=True, total=20)) == list(range(20))
    assert seen == [True, True]
    assert terminal.bar() == (100, 20, 20)


def test_next_with_a_timeout_gives_up_in_time(terminal):
    gate = Gate()
    mapped = fast_map(gate.hold, range(2), progress=True)
    for timeout in (0, 0.02, 0.25):
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            mapped.next(timeout)
        assert time.monotonic() - start >= timeout
    gate.open()
    assert list(mapped) == [0, 1]


# Its end


def fail_at_five(number):
    if number == 5:
        raise LookupError("five")
    return number


def test_an_error_closes_it(terminal):
    mapped = fast_map(fail_at_five, range(10), progress=True, buffersize=1)
    with pytest.raises(LookupError, match="five"):
        list(mapped)
    assert terminal.bar()[1] in (6, 7)  # the next one may have begun before all ended
    assert terminal.getvalue().endswith("\n")


class YoungBar(_progress._Bar):
    """Of a younger generation than its map, so that the collector finalizes it first."""

    def __init__(self, *args):
        gc.collect(0)
        super().__init__(*args)


@pytest.mark.parametrize("how", ["close", "del", "cycle", "cycle with a young bar"])
def test_an_early_end_closes_it(terminal, how, monkeypatch):
    if how == "cycle with a young bar":
        monkeypatch.setattr(_progress, "_Bar", YoungBar)
    mapped = fast_map(identity, range(1000), progress=True, buffersize=1)
    assert [next(mapped) for _ in range(3)] == [0, 1, 2]
    assert not terminal.getvalue().endswith("\n")
    if how == "close":
        mapped.close()
    elif how.startswith("cycle"):
        cycle = [mapped]
        cycle.append(cycle)
        del cycle
    del mapped
    gc.collect()
    assert terminal.getvalue().endswith("\n")
    assert terminal.bar()[1] in (3, 4)  # one may be finished that was not taken


def test_a_bar_below_does_not_draw_before_it_knows_of_the_end(terminal):
    """Another thread wants to draw just when tqdm has left the line of the bar above."""

    def close_and_let_draw():
        close()
        drawing.start()
        drawing.join(0.2)

    above = _progress._Bar(tqdm, "above", 40)
    below = _progress._Bar(tqdm, "below", 40)
    drawing = threading.Thread(target=below.show, args=(35, False))
    close, above._bar.close = above._bar.close, close_and_let_draw
    above.show(40, True)
    drawing.join()
    below.show(40, True)
    lines = screen(terminal.getvalue())
    assert [line[:12] for line in lines] == ["above: 100%|", "below: 100%|"]


def test_a_lock_of_tqdms_that_can_not_be_taken_twice(terminal, monkeypatch):
    monkeypatch.setattr(tqdm, "_lock", threading.Lock(), raising=False)
    assert list(fast_map(identity, range(30), progress=True)) == list(range(30))
    assert terminal.bar() == (100, 30, 30)


def test_nothing_stays(terminal):
    list(fast_map(identity, range(3), progress=True))  # tqdm's lock is made at its first bar
    threads = set(threading.enumerate())
    with leaves_nothing():
        list(fast_map(identity, range(3), progress=True))
    assert set(threading.enumerate()) <= threads
    assert tqdm.monitor is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_of_the_bar_is_the_callers(terminal):
    mapped = fast_map(time.sleep, [600], progress=True)
    terminal.is_broken = True
    with pytest.raises(LookupError, match="broken"):
        next(mapped)
    terminal.is_broken = False
    assert next(mapped, "end") == "end"


# Other ways to consume


def test_in_an_event_loop(terminal):
    async def collect():
        gate = Gate()
        mapped = fast_map(lambda n: gate.hold(n) if n == 0 else n, range(20), progress=True)
        task = asyncio.ensure_future(anext(mapped))
        while terminal.bar()[1] < 19:
            await asyncio.sleep(0.01)
        gate.open()
        return [await task] + [result async for result in mapped]

    assert asyncio.run(collect()) == list(range(20))
    assert terminal.bar() == (100, 20, 20)


def test_with_callbacks(terminal):
    fast_map_async(identity, range(20), progress=True).join()
    assert terminal.bar() == (100, 20, 20)


# Arguments


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"progress": 1}, TypeError, "progress"),
        ({"progress": None}, TypeError, "progress"),
        ({"total": -1}, ValueError, "total"),
        ({"total": 2.5}, TypeError, "total"),
        ({"total": True}, TypeError, "total"),
        ({"tasks_count_estimate": "5"}, TypeError, "tasks_count_estimate"),
        ({"total": 5, "tasks_count_estimate": 5}, TypeError, "total and tasks_count_estimate"),
    ],
)
def test_arguments_are_checked_at_the_call(options, error, match):
    with leaves_nothing(), pytest.raises(error, match=match):
        fast_map(identity, [1], **options)


def test_without_tqdm_it_says_what_to_install(monkeypatch):
    def import_without_tqdm(name, *arguments, **keywords):
        if name.partition(".")[0] == "tqdm":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *arguments, **keywords)

    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", import_without_tqdm)
    with leaves_nothing(), pytest.raises(ImportError, match=r"pip install 'fast_map\[progress\]'"):
        fast_map(identity, [1], progress=True)
    assert list(fast_map(identity, [1])) == [1]


def test_a_total_alone_changes_nothing(terminal):
    assert list(fast_map(identity, iter(range(5)), total=2)) == list(range(5))
    assert terminal.getvalue() == ""


def test_without_stderr_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(_progress, "sys", SimpleNamespace(stderr=None))
    assert list(fast_map(identity, range(3), progress=True)) == [0, 1, 2]


# A real terminal, a log file


def screen(text):
    """The lines that stay of what was written to a terminal, by the controls that tqdm uses."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\r|\n|\x1b\[A|[^\r\n\x1b]+", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part == "\x1b[A":
            row -= 1
        else:
            old = lines[row].ljust(column)
            column += len(part)
            lines[row] = old[: column - len(part)] + part + old[column:]
    return [line.rstrip() for line in lines if line.strip()]


def screen_of(*arguments, interrupt_at=None, go_on=None):
    """The lines that stay on an 80-column terminal, and everything that was written to it."""
    pexpect = pytest.importorskip("pexpect")
    path = Path(__file__).with_name("isolated") / SCRIPT
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm", "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    log = io.StringIO()
    with leaves_nothing():
        child = pexpect.spawn(
            sys.executable,
            [str(path), *arguments],
            dimensions=(24, 80),
            env=environment,
            encoding="utf-8",
            timeout=20,
        )
        child.logfile_read = log
        if interrupt_at is not None:
            child.expect(interrupt_at)
            child.sendintr()
        if go_on is not None:
            child.expect("20/40")
            go_on.touch()
        child.expect(pexpect.EOF)
        child.wait()
        child.close()
        del child
    return screen(log.getvalue()), log.getvalue()


FULL_BAR = r"100%\|█+\| 40/40 \[00:0\d<00:00, +[\d.]+it/s\]"


@pytest.mark.parametrize("how", ["map", "unordered", "threads", "async", "callbacks"])
def test_in_a_terminal_one_line_stays(how, tmp_path):
    go_on = tmp_path / "go_on"
    lines, text = screen_of(how, str(go_on), go_on=go_on)
    assert len(lines) == 2
    assert re.fullmatch(f"naps: {FULL_BAR}", lines[0])
    assert max(map(len, lines)) <= 80
    assert lines[1] == "780"
    counts = [int(count) for count in re.findall(r"(\d+)/40", text)]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2


def test_in_a_terminal_each_map_of_a_pipeline_has_its_line():
    lines, _ = screen_of("pipeline")
    assert len(lines) == 3
    assert re.fullmatch(f"naps: {FULL_BAR}", lines[0])
    assert re.fullmatch(f"more naps: {FULL_BAR}", lines[1])
    assert lines[2] == "780"


def test_in_a_terminal_an_error_stands_below_the_bar():
    lines, _ = screen_of("fail")
    assert re.match(r"naps: +\d+%\|.*\| \d+/40 \[", lines[0])
    assert lines[1] == "fast_map.RemoteTraceback:"
    assert any(line.startswith("LookupError: ") for line in lines)
    assert "Exception ignored" not in "".join(lines)


def test_in_a_terminal_what_is_printed_after_an_early_end_stands_below_the_bar():
    lines, _ = screen_of("close")
    assert re.fullmatch(r"naps: +\d+%\|.*\| \d+/40 \[.*\]", lines[0])
    assert lines[1:] == ["closed"]


def test_in_a_terminal_ctrl_c_ends_the_bar_and_is_told_below_it():
    lines, _ = screen_of("stuck", interrupt_at="20/40")
    assert re.match(r"naps: +50%\|.*\| 20/40 \[", lines[0])
    assert lines[1].startswith("Traceback")
    assert lines[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in "".join(lines)


@pytest.mark.parametrize("how", ["map", "fail", "close", "pipeline", "async", "uncounted"])
def test_in_a_log_file_there_is_one_line_of_text(how):
    status, out, err = run_script(SCRIPT, how)
    lines = err.splitlines()
    if how == "uncounted":
        assert re.fullmatch(r"naps: 40it \[00:0\d, +[\d.]+it/s\]", lines.pop(0))
    else:
        progress = r"naps: \d+% \d+/40 \[00:0\d<[\d:?]+, +[\d.?]+it/s\]"
        assert re.fullmatch(progress, lines.pop(0))
        if how == "pipeline":
            assert re.fullmatch(f"more {progress}", lines.pop(0))
    assert not re.search(r"[\r\x1b\x08]", err)
    if how == "fail":
        assert status == 1
        assert lines[0].startswith("fast_map.RemoteTraceback")
    else:
        assert (status, out, lines) == (0, "closed\n" if how == "close" else "780\n", [])


def test_in_a_log_file_a_total_that_was_too_low_is_none():
    file = io.StringIO()
    _progress._Lines(file, "", 20).show(20, True)
    _progress._Lines(file, "", 20).show(21, True)
    first, second = file.getvalue().splitlines()
    assert first.startswith("100% 20/20 [")
    assert second.startswith("21it [")


def test_in_a_notebook_without_its_widgets_there_are_lines():
    status, out, err = run_script("in_a_notebook.py", "map")
    assert (status, out) == (0, "780\n")
    assert "IProgress not found" in err
    assert re.fullmatch(r"naps: 100% 40/40 \[.*\]", err.splitlines()[-1])


# Others' bars


def test_other_bars_find_the_length(terminal):
    bar = tqdm(fast_map(identity, range(30)))
    assert bar.total == 30
    assert list(bar) == list(range(30))
    assert tqdm(fast_map(identity, iter(range(30)))).total is None


def test_rich_finds_the_length():
    rich_progress = pytest.importorskip("rich.progress")
    bar = rich_progress.Progress(disable=True)
    assert list(bar.track(fast_map(identity, range(30)))) == list(range(30))
    assert bar.tasks[0].total == 30


def test_more_itertools_finds_the_length():
    more_itertools = pytest.importorskip("more_itertools")
    assert more_itertools.ilen(fast_map(identity, range(30))) == 30
    chunks = more_itertools.chunked(fast_map(identity, range(5)), 2)
    assert list(chunks) == [[0, 1], [2, 3], [4]]
    peekable = more_itertools.peekable(fast_map(identity, range(3)))
    assert [peekable.peek(), *peekable] == [0, 0, 1, 2]
