"""Old ways to call, which keep working for one version and warn. Pure."""

from __future__ import annotations

import inspect
import warnings
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["once_positional", "warn_of_old_name"]


def warn_of_old_name(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn the caller's caller that a name has another one now."""
    warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=stacklevel)


def once_positional[**P, T](*names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let arguments that are keyword-only now be given by position, with a warning.

    Parameters
    ----------
    *names : str
        The arguments, in the order in which they followed those that are still positional.
    """

    def mend(function: Callable[P, T]) -> Callable[P, T]:
        plain: Callable[..., Any] = function
        kinds = [each.kind for each in inspect.signature(function).parameters.values()]
        n_positional = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            late = dict(zip(names, args[n_positional:], strict=False))
            if not late or len(args) > n_positional + len(names):
                return plain(*args, **kwargs)
            warnings.warn(
                f"{function.__name__}() takes {' and '.join(late)} by keyword now; write {next(iter(late))}=…",
                DeprecationWarning,
                stacklevel=2,
            )
            return plain(*args[:n_positional], **late, **kwargs)

        if inspect.iscoroutinefunction(function):
            return inspect.markcoroutinefunction(call)
        return call

    return mend
