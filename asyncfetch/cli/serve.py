"""``asyncfetch serve``: the replica of the API on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncfetch.cli.app import app, report_errors, tell

__all__ = ["serve"]


@app.command()
@report_errors
def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; loopback unless told otherwise.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8765,
) -> None:
    """Answer as the Allen Brain Atlas API does, from the built-in sample atlas."""
    import anyio

    from asyncfetch.server import open_replica

    async def body() -> None:
        async with open_replica(host=host, port=port) as replica:
            tell(f"serving the sample atlas at {replica.base_url}; stop with Ctrl-C")
            await anyio.sleep_forever()

    anyio.run(body)
