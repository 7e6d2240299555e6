"""An S3 server that misbehaves when it is told to, in a process of its own, and what tests know of it.

Run as a program, it prints its address and then does what its standard input says, a line for each, and says "done".
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

BUCKET = "brains"
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class ObjectStorage:
    """One S3 server with one bucket, seen from a test."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "requests.jsonl"
        with (folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", __file__, str(self._log)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.endpoint = self._process.stdout.readline().strip()
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            # nobody asks the machine for credentials
            "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def tell(self, *words: object) -> None:
        """Let the server do something: ``stop``, ``start``, ``slow SHARE``, ``break SHARE``, ``full 1``."""
        print(*words, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was asked for so far: method, path, status, and how many others were open."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Return all objects below a prefix, by key."""
        import obstore
        from obstore.store import S3Store

        names = {"endpoint": self.endpoint, "access_key_id": "testing", "secret_access_key": "testing"}
        store = S3Store(
            BUCKET, prefix=prefix, region="us-east-1", client_options={"allow_http": True}, **names
        )
        keys = [each["path"] for page in obstore.list(store) for each in page]
        return {key: obstore.get(store, key).bytes().to_bytes() for key in sorted(keys)}

    def put(self, key: str, data: bytes) -> None:
        """Write an object as somebody else would."""
        import obstore
        from obstore.store import S3Store

        names = {"endpoint": self.endpoint, "access_key_id": "testing", "secret_access_key": "testing"}
        store = S3Store(BUCKET, region="us-east-1", client_options={"allow_http": True}, **names)
        obstore.put(store, key, data)


class _Edge:
    """What stands around the server: the log, and the faults."""

    def __init__(self, serve: Callable[..., Iterable[bytes]], log: str) -> None:
        self._serve = serve
        self._lock = threading.Lock()
        self._chance = random.Random(0)
        self._n_open = 0
        self._log = open(log, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the process lives
        self.shares = {"slow": 0.0, "break": 0.0, "full": 0.0}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self._n_open += 1
            n_open, chance = self._n_open, self._chance.random()
        status = "cut"

        def start(line: str, *args: Any) -> Any:
            nonlocal status
            status = line
            return start_response(line, *args)

        try:
            # what is not read would break the connection
            length = int(environ.get("CONTENT_LENGTH") or 0)
            if chance < self.shares["break"]:
                environ["werkzeug.socket"].shutdown(2)
                return []
            if chance < self.shares["slow"]:
                environ["wsgi.input"].read(length)
                start("503 Slow Down", [("Content-Length", str(len(_SLOW_DOWN)))])
                return [_SLOW_DOWN]
            if environ["REQUEST_METHOD"] == "PUT" and chance < self.shares["full"]:
                environ["wsgi.input"].read(length)
                start("507 Insufficient Storage", [("Content-Length", "0")])
                return []
            return list(self._serve(environ, start))
        finally:
            with self._lock:
                self._n_open -= 1
                path = environ["PATH_INFO"] + (
                    f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
                )
                told = {
                    "method": environ["REQUEST_METHOD"],
                    "path": path,
                    "status": status[:3],
                    "n_open": n_open,
                }
                print(json.dumps(told), file=self._log, flush=True)


def main() -> None:
    """Serve until the standard input ends."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    edge = _Edge(DomainDispatcherApplication(create_backend_app), sys.argv[1])
    server, port = None, 0

    def start() -> None:
        nonlocal server, port
        server = make_server("127.0.0.1", port, edge, threaded=True)
        port = server.port
        threading.Thread(target=server.serve_forever, daemon=True).start()

    start()
    import boto3

    boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    ).create_bucket(Bucket=BUCKET)
    print(f"http://127.0.0.1:{port}", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["stop"]:
                server.shutdown()
                server.server_close()
            case ["start"]:
                start()
            case [name, share]:
                edge.shares[name] = float(share)
        print("done", flush=True)


if __name__ == "__main__":
    main()
