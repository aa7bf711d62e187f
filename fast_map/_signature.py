"""What type checkers know of fast_map(): its overloads. Nothing here does anything at run time.

A new option is one line in Options, besides the one in fast_map() itself; tests/test_typing.py sees
to it that they agree. Of fn all is checked where items are its arguments as they are, and only what
it returns with star, kwstar, args, kwargs or more than three iterables.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar, overload

if TYPE_CHECKING:
    # In the standard library's typing only since Python 3.11; type checkers bring them along.
    from typing_extensions import Required, Unpack

    from ._core import FastMap

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")
Later = Coroutine[Any, Any, R]


class Options(TypedDict, total=False):
    """What has no part in how fn is called and what is yielded."""

    ordered: bool
    threads_limit: int | None
    procs_limit: int | None
    buffersize: int | None
    buffer_bytes: int | None
    chunksize: int | None
    task_timeout: float | None
    retries: int
    initializer: Callable[..., object] | None
    initargs: Iterable[Any]
    max_tasks_per_child: int | None
    start_method: Literal["fork", "forkserver"]
    progress: bool | str
    total: int | None
    tasks_count_estimate: int | None


class Plain(Options, total=False):
    return_exceptions: Literal[False]


class Catching(Options):
    return_exceptions: bool


# One of these goes along where items are not fn's only arguments, or not as they are.


class Kwargs(TypedDict):
    kwargs: Mapping[str, Any] | None


class Args(TypedDict, total=False):
    args: Required[Iterable[Any]]
    kwargs: Mapping[str, Any] | None


class Kwstar(TypedDict, total=False):
    kwstar: Required[bool]
    args: Iterable[Any]
    kwargs: Mapping[str, Any] | None


class Star(TypedDict, total=False):
    star: Required[bool | None]
    kwstar: bool
    args: Iterable[Any]
    kwargs: Mapping[str, Any] | None


class PlainKwargs(Plain, Kwargs): ...


class PlainArgs(Plain, Args): ...


class PlainKwstar(Plain, Kwstar): ...


class PlainStar(Plain, Star): ...


class CatchingKwargs(Catching, Kwargs): ...


class CatchingArgs(Catching, Args): ...


class CatchingKwstar(Catching, Kwstar): ...


class CatchingStar(Catching, Star): ...


class Signature(Protocol):
    """fast_map() as it may be called: each way for coroutine functions and others, with and without
    return_exceptions, which adds exceptions to what is yielded.
    """

    @overload
    def __call__(
        self, fn: Callable[[A], Later[R]], a: Iterable[A], /, **options: Unpack[Plain]
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self, fn: Callable[[A], R], a: Iterable[A], /, **options: Unpack[Plain]
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self, fn: Callable[[A], Later[R]], a: Iterable[A], /, **options: Unpack[Catching]
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self, fn: Callable[[A], R], a: Iterable[A], /, **options: Unpack[Catching]
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B], Later[R]],
        a: Iterable[A],
        b: Iterable[B],
        /,
        **options: Unpack[Plain],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self, fn: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /, **options: Unpack[Plain]
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B], Later[R]],
        a: Iterable[A],
        b: Iterable[B],
        /,
        **options: Unpack[Catching],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B], R],
        a: Iterable[A],
        b: Iterable[B],
        /,
        **options: Unpack[Catching],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], Later[R]],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[Plain],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[Plain],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], Later[R]],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[Catching],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[Catching],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Later[R]],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[Plain],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[Plain],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Later[R]],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[Catching],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[Catching],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Later[R]],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[PlainKwargs],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[PlainKwargs],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Later[R]],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[CatchingKwargs],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[CatchingKwargs],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Later[R]],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[PlainArgs],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[PlainArgs],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Later[R]],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[CatchingArgs],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        **options: Unpack[CatchingArgs],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self, fn: Callable[..., Later[R]], a: Iterable[Any], /, **options: Unpack[PlainKwstar]
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self, fn: Callable[..., R], a: Iterable[Any], /, **options: Unpack[PlainKwstar]
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self, fn: Callable[..., Later[R]], a: Iterable[Any], /, **options: Unpack[CatchingKwstar]
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self, fn: Callable[..., R], a: Iterable[Any], /, **options: Unpack[CatchingKwstar]
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self, fn: Callable[..., Later[R]], a: Iterable[Any], /, **options: Unpack[PlainStar]
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self, fn: Callable[..., R], a: Iterable[Any], /, **options: Unpack[PlainStar]
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self, fn: Callable[..., Later[R]], a: Iterable[Any], /, **options: Unpack[CatchingStar]
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self, fn: Callable[..., R], a: Iterable[Any], /, **options: Unpack[CatchingStar]
    ) -> FastMap[R | BaseException]: ...


def declared(function: Signature) -> Signature:
    """Give fast_map() its overloads; so a type checker also sees that it takes what they say."""
    return function
