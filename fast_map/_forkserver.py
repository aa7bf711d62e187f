"""Workers that are not forked from the caller's process: start_method="forkserver".

The standard library's fork server, one for each process that asks for it, forks a clean child for
each map. That child gets fn and becomes the nursery, which forks the workers; see
src/python/engine_remote.c.
"""

import _thread
import contextlib
import importlib.util
import os
import pickle
import signal
import struct
import sys
from io import FileIO
from multiprocessing import connection, forkserver, process, resource_tracker, spawn

# Not os.close, for which gevent puts one that leaves the descriptor open until its loop turns.
from posix import close
from typing import Any, NamedTuple, NoReturn, cast

from . import _core, _worker

_READY = b"\0"
# A pid or an exit status, as the fork server says it.
_NUMBER = struct.Struct("q")

_NEEDS_PICKLE = (
    "fn and what goes with it (args, kwargs, initializer, initargs) must be picklable with "
    "start_method='forkserver', for its workers don't inherit it"
)


def _make_server() -> forkserver.ForkServer:
    server = forkserver.ForkServer()
    # Not __main__, the default: if that fails or hangs, no one is there to say so.
    server.set_forkserver_preload([__name__])
    return server


_server = _make_server()


def launch_nursery(
    payload: tuple[Any, ...], recipe: tuple[float, ...], descriptors: tuple[int, ...]
) -> int:
    """Start the nursery of one map; return its pid when it has loaded the payload: fn, args,
    kwargs, initializer, initargs."""
    if getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(
            "fast_map(start_method='forkserver') was called by a main module that is being "
            "imported again, for a process of the fork server: start your work below "
            "if __name__ == '__main__':"
        )
    preparation = _make_preparation()
    message = _make_message(_Nursery(_dump(payload), recipe, preparation), preparation)
    with _Request(descriptors) as request:
        pipes = request.make()
        request.pid = _read_pid(pipes.status)
        if request.pid:
            _write(pipes.message, message)
        _await_ready(pipes.answer)
        return request.pid


class _Pipes(NamedTuple):
    """Files, not descriptors, so that nothing that is raised anywhere leaves them open."""

    status: FileIO  # what the server says of the process: its pid, and how it has ended
    message: FileIO  # to the process
    answer: FileIO  # from it


class _Request:
    """What the fork server is asked for, a process, which must not stay if anything is raised
    before it has answered.

    It has to be killed then, for it may be busy importing and not see that nobody wants it. So it
    is sent its message when its pid is known. Before that, which is long where the server is just
    starting, it can only be given something else to do.
    """

    def __init__(self, descriptors: tuple[int, ...]) -> None:
        self.pid = 0  # as long as it isn't known
        self._descriptors = descriptors
        self._outcome: _Pipes | BaseException | None = None
        # Bare locks, since Ctrl-C can spoil those that are made of several, like an Event.
        self._claim = _thread.allocate_lock()  # taken by the thread that asks, or by __exit__
        self._pending = _thread.allocate_lock()
        self._pending.acquire()

    def __enter__(self) -> "_Request":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._claim.acquire(blocking=False):
            return
        if self._outcome is None:
            self._pending.acquire()
        outcome, self._outcome = self._outcome, None  # An exception would refer to itself.
        if isinstance(outcome, _Pipes):
            try:
                if kind is not None:
                    self._end_process(outcome)
            finally:
                for each in outcome:
                    each.close()

    def make(self) -> _Pipes:
        # On a thread, where no signal's handler runs: half a request would end the server.
        _thread.start_new_thread(self._ask, ())
        self._pending.acquire()
        if isinstance(self._outcome, _Pipes):
            return self._outcome
        raise cast(BaseException, self._outcome)

    def _ask(self) -> None:
        if self._claim.acquire(blocking=False):
            try:
                _let_interrupts_wait()
                self._outcome = _connect(self._descriptors)
            except BaseException as error:
                self._outcome = error
            self._pending.release()

    def _end_process(self, pipes: _Pipes) -> None:
        if self.pid == 0:
            _write(pipes.message, _make_message(_Unwanted(), _make_preparation()))
            return
        os.set_blocking(pipes.status.fileno(), False)
        has_ended = pipes.status.read(_NUMBER.size)
        if not has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _let_interrupts_wait() -> None:
    """Have the server, if this thread starts it, and its children not notice a Ctrl-C, which a
    terminal sends to them too: until the server ignores it, and a child leaves it to the parent."""
    # What else the standard library may have to start, and would let it through again.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _connect(descriptors: tuple[int, ...]) -> _Pipes:
    answer_r, answer_w = os.pipe()
    answer = FileIO(answer_r)
    try:
        status, message = _server.connect_to_new_process([*descriptors, answer_w])
    finally:
        close(answer_w)
    return _Pipes(FileIO(status), FileIO(message, "w"), answer)


def _await_input(pipe: FileIO) -> None:
    # A short time each: a signal that comes just before a system call, or that the kernel gives to
    # another thread, does not end it, and its handler is called after it.
    while not connection.wait([pipe.fileno()], 0.1):
        pass


def _read_pid(status: FileIO) -> int:
    """0 if the server has ended."""
    _await_input(status)
    said = status.read(_NUMBER.size)
    return _NUMBER.unpack(said)[0] if said else 0


def _await_ready(pipe: FileIO) -> None:
    _await_input(pipe)
    answer = pipe.readall()
    if answer == _READY:
        return
    if answer:
        raise pickle.loads(answer)
    raise RuntimeError(
        "the process that the fork server started for fast_map ended before it had loaded fn; "
        "what it printed may say why"
    )


def _write(pipe: FileIO, message: bytes) -> None:
    rest = memoryview(message)
    with contextlib.suppress(BrokenPipeError):  # It has ended, and _await_ready says so.
        while rest:
            rest = rest[pipe.write(rest) :]


class _Nursery:
    """What the fork server's child unpickles and, by multiprocessing's convention, runs."""

    def __init__(
        self, payload: bytes, recipe: tuple[float, ...], preparation: dict[str, Any]
    ) -> None:
        self.payload = payload
        self.recipe = recipe
        self.preparation = preparation

    def _bootstrap(self, parent_sentinel: int) -> int:
        _worker.leave_interrupts_to_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        close(parent_sentinel)
        *descriptors, ready = forkserver._forkserver._inherited_fds  # type: ignore[attr-defined]
        try:
            self._serve(tuple(descriptors), ready)
        except BaseException as error:
            _report(ready, error)
        return 1

    def _serve(self, descriptors: tuple[int, ...], ready: int) -> NoReturn:
        self._prepare()
        payload = self._load()
        _core.serve_nursery(payload, self.recipe, descriptors, ready)

    def _prepare(self) -> None:
        """Make this process like the caller's: arguments, folder, main module."""
        current = process.current_process()
        current._inheriting = True  # type: ignore[attr-defined]
        try:
            spawn.prepare(self.preparation)
        except BaseException as error:
            raise RuntimeError(
                "the main module could not be imported in a process of the fork server: "
                f"{type(error).__name__}: {error}"
            ) from error
        finally:
            del current._inheriting  # type: ignore[attr-defined]

    def _load(self) -> Any:
        try:
            return pickle.loads(self.payload)
        except BaseException as error:
            raise pickle.UnpicklingError(
                "fn, or what goes with it, was sent, but does not unpickle in a process of the "
                f"fork server: {type(error).__name__}: {error}. Define it in a module that can be "
                "imported, or install cloudpickle (pip install cloudpickle)"
            ) from error


class _Unwanted:
    """What a process of the fork server is sent instead, if nobody waits for it any more."""

    def _bootstrap(self, parent_sentinel: int) -> int:
        return 0


def _make_message(content: _Nursery | _Unwanted, preparation: dict[str, Any]) -> bytes:
    """The standard library prepares a process with the first pickle, and runs the second."""
    return pickle.dumps({"sys_path": preparation["sys_path"]}) + pickle.dumps(content)


def _make_preparation() -> dict[str, Any]:
    """What the standard library tells a new process of this one."""
    preparation: dict[str, Any] = spawn.get_preparation_data("fast_map-nursery")
    # Its own type refuses to be pickled, so as not to be sent over a network; this is a pipe.
    preparation["authkey"] = bytes(preparation["authkey"])
    if not _can_import_main():
        preparation.pop("init_main_from_path", None)
    return preparation


def _dump(payload: tuple[Any, ...]) -> bytes:
    """Pickle, by cloudpickle where pickle can't or what it makes would not be found again."""
    has_cloudpickle = importlib.util.find_spec("cloudpickle") is not None
    if has_cloudpickle and not _can_import_main():
        return _dump_by_value(payload)
    try:
        return pickle.dumps(payload)
    except Exception as error:
        if has_cloudpickle:
            return _dump_by_value(payload)
        raise pickle.PicklingError(
            f"{_NEEDS_PICKLE}: {error}. Define it at the top level of a module, or install "
            "cloudpickle (pip install cloudpickle)"
        ) from error


def _dump_by_value(payload: tuple[Any, ...]) -> bytes:
    import cloudpickle  # type: ignore[import-untyped, import-not-found, unused-ignore]

    try:
        dumped: bytes = cloudpickle.dumps(payload)
    except Exception as error:
        raise pickle.PicklingError(f"{_NEEDS_PICKLE}; cloudpickle says: {error}") from error
    return dumped


def _can_import_main() -> bool:
    """Whether a new process can import what __main__ is here; not so for a prompt or python -c."""
    main = sys.modules["__main__"]
    return main.__spec__ is not None or os.path.exists(getattr(main, "__file__", None) or "")


def _report(descriptor: int, error: BaseException) -> None:
    try:
        answer = pickle.dumps(error)
        pickle.loads(answer)
    except Exception:
        answer = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    os.write(descriptor, answer)


def _use_own_server() -> None:
    # The parent's server is no child of this process, which could not tell whether it lives.
    global _server
    _server = _make_server()


os.register_at_fork(after_in_child=_use_own_server)
