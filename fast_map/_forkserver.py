"""Workers that are not forked from the caller's process: start_method="forkserver".

The standard library's fork server, one for each process that asks for it, forks a clean child for
each map. That child gets fn and becomes the nursery, which forks the workers; see
src/python/engine_remote.c.
"""

import contextlib
import importlib.util
import os
import pickle
import signal
import struct
import sys
from multiprocessing import forkserver, process, spawn

# Not os.close, for which gevent puts one that leaves the descriptor open until its loop turns.
from posix import close
from typing import Any, NoReturn

from . import _core

_READY = b"\0"

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
    nursery = _Nursery(_dump(payload), recipe, preparation)
    # The standard library prepares with the first, and unpickles the second.
    child = pickle.dumps({"sys_path": preparation["sys_path"]}) + pickle.dumps(nursery)
    ready_r, ready_w = os.pipe()
    try:
        try:
            status_r, data_w = _server.connect_to_new_process([*descriptors, ready_w])
        finally:
            close(ready_w)
        try:
            _send(data_w, child)
            _await_ready(ready_r)
            return _read_status(status_r)[0]
        except BaseException:
            _kill(status_r)
            raise
        finally:
            close(status_r)
    finally:
        close(ready_r)


class _Nursery:
    """What the fork server's child unpickles and, by multiprocessing's convention, runs."""

    def __init__(
        self, payload: bytes, recipe: tuple[float, ...], preparation: dict[str, Any]
    ) -> None:
        self.payload = payload
        self.recipe = recipe
        self.preparation = preparation

    def _bootstrap(self, parent_sentinel: int) -> int:
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


def _send(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb") as pipe:
        try:
            pipe.write(data)
            pipe.flush()
        except BrokenPipeError:
            pass  # It has ended, and _await_ready says so.


def _await_ready(descriptor: int) -> None:
    with open(descriptor, "rb", closefd=False) as pipe:
        answer = pipe.read()
    if answer == _READY:
        return
    if answer:
        raise pickle.loads(answer)
    raise RuntimeError(
        "the process that the fork server started for fast_map ended before it had loaded fn; "
        "what it printed may say why"
    )


def _read_status(descriptor: int) -> tuple[int, ...]:
    """What the fork server has said of a process: its pid, and its exit status if it has ended."""
    said = os.read(descriptor, 16)
    return struct.unpack(f"{len(said) // 8}q", said)


def _kill(descriptor: int) -> None:
    """End a process that may be busy importing, and then would not see that it isn't wanted."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError, ProcessLookupError):
        pid, *ended = _read_status(descriptor) or (0, True)
        if not ended:
            os.kill(pid, signal.SIGKILL)


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
