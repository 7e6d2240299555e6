"""Old ways to call, which keep working for one version and warn. Pure."""

from __future__ import annotations

import inspect
import warnings
from functools import wraps
from typing import TYPE_CHECKING, Any, Self, overload

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OldAttribute", "once_named", "once_positional", "warn_of_old_name"]


def warn_of_old_name(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn the caller's caller that a name has another one now."""
    warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=stacklevel)


class OldAttribute[T]:
    """An attribute that became a method, because it reads the disk; it still gives the value, and warns.

    Parameters
    ----------
    method : callable
        The method, as it stands in the body of the class.
    """

    def __init__(self, method: Callable[[Any], T]) -> None:
        self._method = method
        self.__doc__ = f"The old form of ``{method.__name__}()``."

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        old, new = f"{owner.__name__}.{self._name}", f"{owner.__name__}.{self._method.__name__}()"
        warn_of_old_name(old, f"{new}, because it reads the store")
        return self._method(instance)


def once_named[C: type](**new_names: str) -> Callable[[C], C]:
    """Let a class take arguments under their old names, with a warning; the new name counts where both are given.

    Parameters
    ----------
    **new_names : str
        The new name of each argument, by its old one.
    """

    def mend(owner: C) -> C:
        plain: Callable[..., None] = vars(owner)["__init__"]

        @wraps(plain)
        def init(self: object, *args: Any, **kwargs: Any) -> None:
            for old in new_names.keys() & kwargs.keys():
                warn_of_old_name(f"{owner.__name__}({old}=…)", f"{new_names[old]}=…")
                value = kwargs.pop(old)
                kwargs.setdefault(new_names[old], value)
            plain(self, *args, **kwargs)

        type.__setattr__(owner, "__init__", init)
        return owner

    return mend


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
