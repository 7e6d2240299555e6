"""Tasks that share work: every one has its owner, and what ends them is raised as it was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio

from asyncfetch.errors import AsyncFetchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator

__all__ = ["Shared", "failing_alone", "first_error", "run_alike", "share_out"]


class Shared[Item]:
    """The items of an iterable, each of which goes to one of the tasks that iterate over it."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items: Iterator[Item] = iter(items)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        for item in self._items:
            return item
        raise StopAsyncIteration


async def share_out[Item](
    items: Iterable[Item], do: Callable[[Item], Awaitable[object]], n_workers: int
) -> None:
    """Do something with each item, several at a time.

    Parameters
    ----------
    items : iterable
        Each is taken when a task is free for it.
    do : callable
        Is awaited with each item. The first error ends all, and is raised as it was.
    n_workers : int
        Items at a time, at most.
    """
    shared = Shared(items)

    async def work() -> None:
        async for item in shared:
            await do(item)

    await run_alike(work, n_workers)


async def run_alike(work: Callable[[], Coroutine[Any, Any, None]], n_tasks: int) -> None:
    """Run one function in several tasks until all have ended; the first error is raised as it was."""
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(n_tasks):
                tasks.start_soon(work)
    except BaseExceptionGroup as group:
        failure = first_error(group)
    if failure is not None:
        raise failure


@contextmanager
def failing_alone() -> Iterator[None]:
    """Raise the first of our errors that end a task group in the block, as it was; bugs stay in their group."""
    failure: BaseException | None = None
    try:
        yield
    except* AsyncFetchError as group:
        failure = first_error(group)
    if failure is not None:
        # the group is nobody's affair; what caused the error itself is
        raise failure from failure.__cause__


def first_error(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error in a group of a task group, however deep it lies."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
