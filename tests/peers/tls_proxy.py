"""A stand-in for api.brain-map.org on loopback: ``python tls_proxy.py BASE_URL FOLDER``.

For a client whose address cannot be changed. It takes ``HTTP_PROXY`` and ``HTTPS_PROXY`` of the client's environment,
and the certificate of an authority made for this run by ``REQUESTS_CA_BUNDLE``. Every request, whatever its host,
reaches the replica at BASE_URL and nothing else. The address and the bundle's path are printed as one JSON line.
"""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import trustme
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

HOST = "api.brain-map.org"
_HEAD_BYTES = 2**17
_ENDED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead)


class Rest(ByteStream):
    """A client's stream after its first lines were read ahead."""

    def __init__(self, stream: ByteStream, ahead: bytes) -> None:
        self._stream = stream
        self._ahead = ahead

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def pour(source: ByteReceiveStream, target: ByteSendStream, scope: anyio.CancelScope) -> None:
    try:
        while True:
            await target.send(await source.receive())
    except _ENDED:
        scope.cancel()


async def main(base_url: str, folder: Path) -> None:
    parts = urlsplit(base_url)
    authority = trustme.CA()
    bundle = folder / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)

    async def serve(client: ByteStream) -> None:
        try:
            async with client:
                await serve_open(client)
        except (*_ENDED, ssl.SSLError):
            pass

    async def serve_open(client: ByteStream) -> None:
        # A request to a proxy may have no header at all, so it is read as one piece.
        head = await BufferedByteReceiveStream(client).receive_until(b"\r\n\r\n", _HEAD_BYTES)
        first, *lines = head.split(b"\r\n")
        method, target, version = first.split(b" ")
        if method == b"CONNECT":
            await client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            inner: ByteStream = await TLSStream.wrap(
                client, server_side=True, ssl_context=context, standard_compatible=False
            )
        else:
            # A plain request to a proxy names the whole address; one a connection is enough here.
            path = b"/" + target.split(b"/", 3)[3]
            lines = [line for line in lines if not line.lower().startswith(b"connection:")]
            lines = [b" ".join([method, path, version]), *lines, b"Connection: close"]
            inner = Rest(client, b"\r\n".join(lines) + b"\r\n\r\n")
        replica = await anyio.connect_tcp(parts.hostname or "", parts.port or 80)
        async with replica, inner, anyio.create_task_group() as group:
            group.start_soon(pour, inner, replica, group.cancel_scope)
            group.start_soon(pour, replica, inner, group.cancel_scope)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        sys.stdout.write(json.dumps({"proxy": f"http://127.0.0.1:{port}", "bundle": str(bundle)}) + "\n")
        sys.stdout.flush()
        await listener.serve(serve)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
