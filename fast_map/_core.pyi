from collections.abc import Callable, Generator, Iterable
from types import GenericAlias, TracebackType
from typing import Any, NoReturn, TypeVar, final, overload

_R_co = TypeVar("_R_co", covariant=True)

@final
class FastMap(Generator[_R_co]):
    def __next__(self) -> _R_co: ...
    def __iter__(self) -> FastMap[_R_co]: ...
    def send(self, value: None, /) -> _R_co: ...
    @overload
    def throw(
        self,
        type: type[BaseException],
        value: BaseException | object = ...,
        traceback: TracebackType | None = ...,
        /,
    ) -> NoReturn: ...
    @overload
    def throw(
        self, type: BaseException, value: None = None, traceback: TracebackType | None = ..., /
    ) -> NoReturn: ...
    def close(self) -> None: ...
    def next(self, timeout: float | None = None) -> _R_co: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __length_hint__(self) -> int: ...
    def __enter__(self) -> FastMap[_R_co]: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def _shut_down(self) -> None: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

def start(
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    /,
    *,
    length: int,
    star: int,
    kwstar: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    threads_limit: int,
    procs_limit: int,
    buffersize: int,
    buffer_bytes: int,
    chunksize: int,
    max_tasks_per_child: int,
    retries: int,
    task_timeout: float,
    return_exceptions: bool,
    ordered: bool,
    coroutines: bool,
    remote: bool,
) -> FastMap[Any]: ...
def serve_nursery(
    payload: tuple[Any, ...],
    recipe: tuple[float, ...],
    descriptors: tuple[int, ...],
    ready: int,
    /,
) -> NoReturn: ...
