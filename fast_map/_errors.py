"""Exceptions: the public ones, and how one travels from a worker to the caller.

The extension calls the functions here; see src/python/errors.c.
"""

import contextlib
import copyreg
import io
import pickle
import reprlib
import signal as _signal
import threading
import traceback
from concurrent.futures import BrokenExecutor
from types import FunctionType
from typing import Any

# The stages of an item's life in which an exception can arise; enum fm_stage of the extension.
_SEND_ARGUMENT, _READ_ARGUMENT, _CALL, _SEND_RESULT, _INITIALIZE = range(5)


# FM_EXIT_ORPHANED of the extension.
_MISSES_ITS_PARENT = 70

# The signals that faulthandler explains.
_FAULTS = (_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGABRT, _signal.SIGFPE, _signal.SIGILL)

# How faulthandler names the calls that lead from an event loop to its callbacks.
_LOOP_CALLS = (" in run_forever", " in _run_once", " in _run")


class WorkerCrashed(BrokenExecutor):
    """A worker process died in the middle of its work.

    Attributes:
        pid: The process that died (int).
        exitcode: Its exit status (int), or None if a signal killed it or nobody
            knows.
        signal: The number of the signal that killed it (int), or None.
        items: Positions of the items that it was running and whose results are
            lost (tuple of int), the first being the one in whose place this is
            raised. Empty if it was running none, and no other worker was left
            to go on.
    """

    def __init__(
        self,
        pid: int,
        exitcode: int | None = None,
        signal: int | None = None,
        items: tuple[int, ...] = (),
    ) -> None:
        self.pid = pid
        self.exitcode = exitcode
        self.signal = signal
        self.items = items
        super().__init__(pid, exitcode, signal, items)

    def __str__(self) -> str:
        if self.signal is not None:
            how = f"was killed by {_signal_name(self.signal)}"
            if self.signal == _signal.SIGKILL:
                how += " (by somebody, or by the kernel for want of memory)"
            elif self.signal in _FAULTS:
                how += " (a fault in C code: python -X faulthandler shows where)"
        elif self.exitcode is not None:
            how = f"exited with status {self.exitcode}"
            if self.exitcode == _MISSES_ITS_PARENT:
                how += (
                    " (as if its parent had ended: does fn close descriptors that are not its own?)"
                )
        else:
            how = "ended, and its exit status was taken by somebody else"
        if not self.items:
            return f"worker process {self.pid} {how}, and no worker is left to go on"
        return f"worker process {self.pid} {how} while it ran {_name_items(self.items)}"


class TaskTimeout(TimeoutError):
    """An item ran for longer than task_timeout; its worker process was ended.

    Attributes:
        item: The item's position (int).
        seconds: The task_timeout (float).
        stack: Where the thread that ran it was, the innermost call first, as
            faulthandler writes it (str; empty where the thread could not tell).
            Of a coroutine: what it was waiting in.
    """

    def __init__(self, item: int, seconds: float, stack: str = "") -> None:
        self.item = item
        self.seconds = seconds
        self.stack = stack
        super().__init__(item, seconds, stack)

    def __str__(self) -> str:
        text = f"item {self.item} ran for longer than {self.seconds:g} s"
        return f"{text}; it was at\n{self.stack}" if self.stack else text


class RemoteTraceback(Exception):
    """The cause of an exception that came from a worker.

    Its text is the worker's traceback.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(RuntimeError):
    """Stands for an exception of a worker that does not pickle.

    Its text has the original's type and message.
    """


def pack_exception(error: BaseException, index: int, stage: int, subject: object) -> bytes:
    """In a worker or the feeder: the exception of item `index` as bytes.

    `subject` is the item's argument or, in the last stage, the result that could not be sent.
    """
    if stage == _CALL:
        note = _name_call(index, subject)
    elif stage == _INITIALIZE:
        note = _name_initializer(index)
    elif stage == _READ_ARGUMENT:
        note = f"fast_map: the argument of item {index} could not be read by the worker"
        error = _explain_decoding(error, f"the argument of item {index}")
    else:
        what = "argument" if stage == _SEND_ARGUMENT else "result"
        note = f"fast_map: the {what} of item {index} could not be sent"
        error = _explain_encoding(error, f"the {what} of item {index}", subject)
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return pickle.dumps((_dump(error), text, note), protocol=5)


def unpack_exception(packed: bytes, index: int) -> BaseException:
    """In the caller: the exception to raise for item `index`."""
    if not packed:
        # All that a worker without memory can say.
        return MemoryError(f"item {index} failed, and its exception could not be sent")
    dumped, text, note = pickle.loads(packed)
    try:
        error = pickle.loads(dumped)
    except Exception as failure:  # and no more: Ctrl-C may come just here
        error = RemoteError(f"an exception of item {index} does not unpickle here: {failure}")
    if isinstance(error, StopIteration):
        # As PEP 479 has it: passed on, it would end the caller's loop as if all were done.
        error = RuntimeError(f"fn raised StopIteration for item {index}")
    return _attribute(error, index, text, note)


def keep_exception(
    error: BaseException, index: int, stage: int, subject: object
) -> tuple[BaseException, str]:
    """In a thread of the caller's process: the exception of item `index` as it is, and a note."""
    if stage == _CALL:
        return error, _name_call(index, subject)
    if stage == _INITIALIZE:
        return error, _name_initializer(index)
    return error, f"fast_map: the argument of item {index} could not be read"


def open_kept_exception(kept: tuple[BaseException, str], index: int) -> BaseException:
    """In the caller: the exception to raise for item `index`, which arose in this process."""
    error, note = kept
    if isinstance(error, StopIteration):
        # As in unpack_exception.
        stopped = error
        error = RuntimeError(f"fn raised StopIteration for item {index}")
        error.__cause__ = stopped
    return _attribute(error, index, None, note)


def make_crash_error(
    index: int,
    items: list[int],
    pid: int,
    known: bool,
    code: int,
    signal: int,
    refusal: OSError | None,
) -> WorkerCrashed:
    """In the caller: what to raise for items that a dead process was running.

    `refusal` says why no other process could run them again.
    """
    exitcode = code if known and not signal else None
    error = WorkerCrashed(pid, exitcode, signal or None, (*items[:1], *sorted(items[1:])))
    error.__cause__ = refusal
    with contextlib.suppress(AttributeError):
        error.seq_index = index  # type: ignore[attr-defined]
    return error


def make_timeout_error(item: int, seconds: float, stack: bytes) -> TaskTimeout:
    """In the caller: what to raise for an item that ran for too long."""
    lines = stack.decode(errors="replace").splitlines()
    calls = [line for line in lines if line.startswith("  File ")]
    # The main thread of a worker also has, below, the stack that the caller, or the nursery of a
    # fork server, had at the fork. Above that is the event loop, if there is one.
    ours = [i for i, line in enumerate(calls) if line.endswith((" in fast_map", " in _serve"))]
    calls = calls[: ours[0]] if ours else calls
    while calls and calls[-1].endswith(_LOOP_CALLS):
        calls.pop()
    error = TaskTimeout(item, seconds, "\n".join(calls))
    error.seq_index = item  # type: ignore[attr-defined]
    return error


def make_exit_error() -> BaseException:
    """In the caller: what to raise where a result is awaited after the interpreter's exit."""
    if threading.current_thread().daemon:
        return SystemExit()  # ends the thread without a word, as is the way of daemons
    return RuntimeError("the map was ended before its last result, since the interpreter exits")


def explain_decoding_error(error: BaseException, index: int) -> BaseException:
    """In the caller: the result of item `index` arrived and could not be made an object."""
    explained = _explain_decoding(error, f"the result of item {index}")
    return _attribute(explained, index, None, None)


def _name_initializer(index: int) -> str:
    return f"fast_map: raised by the initializer of the worker that was to run item {index}"


def _name_call(index: int, subject: object) -> str:
    return f"fast_map: raised by the call for item {index}, {_repr(subject)}"


def _attribute(
    error: BaseException, index: int, text: str | None, note: str | None
) -> BaseException:
    # A class of exceptions may refuse attributes. The cause goes past that; to the others the
    # exception itself is preferred.
    if text is not None:
        BaseException.__setattr__(error, "__cause__", RemoteTraceback(text))
    with contextlib.suppress(Exception):
        error.seq_index = index  # type: ignore[attr-defined]
    if note is not None:
        with contextlib.suppress(Exception):
            _add_note(error, note)
    return error


def _add_note(error: BaseException, note: str) -> None:
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:  # CPython 3.10 prints no notes; programs can read them all the same.
        notes = [*getattr(error, "__notes__", ()), note]
        error.__notes__ = notes  # type: ignore[attr-defined]


class _Pickler(pickle.Pickler):
    """Has exceptions copied as they are, also those in groups, by _rebuild().

    By default they are made anew of their args, which is not what an __init__ of their own may
    take, or makes of it something else.
    """

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if (
            isinstance(obj, BaseException)
            and type(kind.__init__) is FunctionType
            and not _has_own_way(kind)
        ):
            return _rebuild, (kind, *obj.args), vars(obj) or None
        return NotImplemented


def _has_own_way(kind: type[BaseException]) -> bool:
    """Whether its instances say how they are pickled, or have state that only __init__ sets."""
    bases = [base for base in kind.__mro__ if base not in (BaseException, object)]
    names = ("__reduce__", "__reduce_ex__", "__slots__")
    return kind in copyreg.dispatch_table or any(
        vars(base).get(name) for base in bases for name in names
    )


def _rebuild(kind: type[BaseException], *args: Any) -> BaseException:
    """An exception with these args, whose own __init__ was not called again."""
    built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    error: BaseException = built_in.__new__(kind, *args)
    built_in.__init__(error, *args)  # type: ignore[misc]
    return error


def _dump(error: BaseException) -> bytes:
    """Pickle an exception, or a stand-in where that or the way back fails."""
    try:
        file = io.BytesIO()
        _Pickler(file, protocol=5).dump(error)
        dumped = file.getvalue()
        if type(pickle.loads(dumped)) is type(error):
            return dumped
        reason = "it unpickles as something else"
    except BaseException as failure:
        reason = _one_line(failure)
    kind = type(error)
    return pickle.dumps(
        RemoteError(
            f"{kind.__module__}.{kind.__qualname__}: {_one_line(error)}"
            f" (raised in a worker; it cannot be sent as it is: {reason})"
        ),
        protocol=5,
    )


def _explain_encoding(error: BaseException, what: str, subject: object) -> BaseException:
    if not isinstance(error, Exception) or isinstance(error, MemoryError):
        return error
    kind = type(subject)
    remedy = "; with procs_limit=0, threads only, nothing is pickled"
    if hasattr(kind, "__await__"):
        remedy = "; an fn whose calls are to be awaited must be a coroutine function (async def)"
    explained = pickle.PicklingError(
        f"{what}, of type {kind.__module__}.{kind.__qualname__}, cannot be pickled: "
        f"{_one_line(error)}{remedy}"
    )
    explained.__cause__ = error
    return explained


def _explain_decoding(error: BaseException, what: str) -> BaseException:
    if not isinstance(error, Exception) or isinstance(error, MemoryError):
        return error
    explained = pickle.UnpicklingError(
        f"{what} was sent, but does not unpickle: {type(error).__name__}: {_one_line(error)}"
    )
    explained.__cause__ = error
    return explained


def _one_line(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:
        return f"<{type(error).__name__} whose str() fails>"


def _repr(subject: object) -> str:
    try:
        return reprlib.repr(subject)
    except BaseException:  # in a worker, where it is the item's
        return f"<{type(subject).__name__} whose repr() fails>"


def _signal_name(number: int) -> str:
    try:
        return _signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _name_items(items: tuple[int, ...]) -> str:
    if len(items) == 1:
        return f"item {items[0]}"
    shown = ", ".join(str(item) for item in items[:8])
    return f"items {shown}" + (f" and {len(items) - 8} more" if len(items) > 8 else "")


for _exception in (WorkerCrashed, TaskTimeout, RemoteTraceback, RemoteError):
    _exception.__module__ = "fast_map"
