"""What comes before the services: whom the replica answers, and in which words it refuses or fails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from asyncfetch.errors import short_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncfetch.replica.hosts import Hosts

__all__ = ["KEEP_ALIVE_S", "MAX_LINE_BYTES", "Door", "refuse_foreign"]

#: Idle connections, and those whose request does not come to its end, are closed after so many seconds (HTTP-4).
KEEP_ALIVE_S = 15.0
#: The longest address; a hundred ids and more occur in one.
MAX_LINE_BYTES = 2**17

_log = logging.getLogger("asyncfetch.replica")


class Door:
    """The outermost handler of requests.

    Parameters
    ----------
    hosts : Hosts
        The names that are answered.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    @web.middleware
    async def admit(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse foreign names and addresses that are too long; answer a bug with one line."""
        if len(request.raw_path) > MAX_LINE_BYTES:
            return _refusal(
                414, f"the address is longer than {MAX_LINE_BYTES} bytes; ask for fewer ids at once"
            )
        if (refusal := refuse_foreign(request, self._hosts)) is not None:
            return refusal
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug, which a client cannot mend
            # said in full on this side only
            _log.exception("the replica failed to answer %s", short_url(request.path))
            return _refusal(500, f"the replica failed: {type(error).__name__}; its own log says more")


def refuse_foreign(request: web.BaseRequest, hosts: Hosts) -> web.Response | None:
    """Return the refusal of a request that is for a name of somebody else's; None where it is answered."""
    host = request.headers.get("Host", "")
    if hosts.allows(host):
        return None
    name = ascii(host[:100])[1:-1]
    return _refusal(
        421,
        f"this replica does not answer to the name {name}; allow it with: asyncfetch serve --allow-host NAME",
    )


def _refusal(status: int, words: str) -> web.Response:
    return web.Response(status=status, text=f"{words}\n", headers={"Connection": "close"})
