"""Ten million points through image_to_reference and reference_to_image, beside the ways that clients go today.

::

    python benchmarks/sync_services.py                  # ours, and atldld's way re-written
    python benchmarks/sync_services.py --atldld PYTHON   # and atldld itself, by an interpreter that has it
    python benchmarks/sync_services.py --points 1000000 --rounds 3

"atldld's way" is the arithmetic of its ``xy_to_pir`` and ``pir_to_xy``: the matrices of one section multiplied in
float32, then applied to homogeneous columns at once. Its ``pir_to_xy`` takes the matrix of a section that is given
and looks for no nearest one; "plain numpy" does, in float64. To find the section, atldld asks the API, one HTTP
request a point; what such a request costs is measured against a server on loopback that answers at once, so that a
network can only make it slower.

All ways run on one core; rounds are interleaved, and medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

# before numpy is imported: one core for all
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402 - after the choice of one core

from asyncfetch.atlas import Atlas, Catalogue  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

# Data set 479 (coronal, space 9): its alignment, and the matrices of its section 101349756.
TVR = (0, 0, -0.991197, -0.00940617, 0.97088, 0, 1.07512, 0.0113814, 0, 12741.3, -1528.16, -1370.53)
TRV = (0, -0.0109026, 0.930036, 0, 1.02989, 0.00901046, -1.00888, 0, 0, 1257.98, 1586.18, 12854.5)
TSV = (1.62982, 0.0243755, -0.0243755, 1.62982, 3051.75, 2776.39)
TVS = (0.613428, -0.0091744, 0.0091744, 0.613428, -1846.56, -1731.11)
N_SECTIONS = 63
HTTP_POINTS = 300


def numbered(name: str, values: tuple[float, ...]) -> dict[str, float]:
    return {f"{name}_{k:02d}": value for k, value in enumerate(values)}


def sample_atlas() -> Atlas:
    data_set = {
        "id": 479,
        "reference_space_id": 9,
        "section_thickness": 25.0,
        "alignment3d": {"id": 1} | numbered("tvr", TVR) | numbered("trv", TRV),
    }
    sections = [
        {
            "id": 101349756 + k,
            "data_set_id": 479,
            "section_number": 4 + 8 * k,
            "width": 4232,
            "height": 3864,
            "alignment2d": {"id": k} | numbered("tsv", TSV) | numbered("tvs", TVS),
        }
        for k in range(N_SECTIONS)
    ]
    return Atlas(Catalogue.from_rows([data_set], sections))


def matrix_2d(values: tuple[float, ...]) -> np.ndarray:
    return np.array([[values[0], values[1], values[4]], [values[2], values[3], values[5]], [0, 0, 1]])


def matrix_3d(values: tuple[float, ...]) -> np.ndarray:
    rows = [[*values[3 * k : 3 * k + 3], values[9 + k]] for k in range(3)]
    return np.array([*rows, [0, 0, 0, 1]])


def affine_of_columns(inner: np.ndarray, outer: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Apply two (4, 4) maps, composed in float32, to (3, n) columns."""
    composed = outer.astype(np.float32) @ inner.astype(np.float32)
    return composed[:3] @ np.concatenate([columns, np.ones((1, columns.shape[1]), dtype=np.float32)])


def in_volume(values: tuple[float, ...]) -> np.ndarray:
    """Return a map of the plane as a (4, 4) map that leaves z as it is."""
    matrix = np.eye(4)
    matrix[:2, [0, 1, 3]] = matrix_2d(values)[:2]
    return matrix


def nearest_then_product(pir: np.ndarray) -> np.ndarray:
    """Go from reference to image with plain arrays: a search for the section, then its matrix for each point."""
    volume = matrix_3d(TRV) @ np.vstack([pir.T, np.ones(len(pir))])
    numbers = 4.0 + 8 * np.arange(N_SECTIONS)
    index = np.searchsorted((numbers[1:] + numbers[:-1]) / 2, volume[2] / 25.0)
    matrices = np.repeat(matrix_2d(TVS)[None, :2], N_SECTIONS, axis=0)[index]
    flat = np.stack([volume[0], volume[1], np.ones(len(pir))], axis=1)
    return np.einsum("nij,nj->ni", matrices, flat)


class Answerer(BaseHTTPRequestHandler):
    """A server that answers every request at once with the same point."""

    protocol_version = "HTTP/1.1"
    body = b'{"success":true,"msg":{"image_to_reference":{"x":1.5,"y":2.5,"z":3.5}}}'

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_arguments: object) -> None:
        """Keep silent."""


def seconds_of_one_request() -> float:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answerer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/api/v2/image_to_reference/1.json?x=1&y=2"
    started_s = time.perf_counter()
    for _ in range(HTTP_POINTS):
        with urllib.request.urlopen(url) as reply:
            json.load(reply)
    elapsed_s = time.perf_counter() - started_s
    server.shutdown()
    server.server_close()
    return elapsed_s / HTTP_POINTS


def seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def atldld_seconds(python: str, n: int) -> list[float]:
    """Return the seconds of atldld's own xy_to_pir and pir_to_xy, run by an interpreter that has it."""
    code = (
        "import sys, time, numpy as np\n"
        "from atldld.sync import pir_to_xy, xy_to_pir\n"
        "n = int(sys.argv[1])\n"
        "columns = np.random.default_rng(0).uniform(0, 4000, (3, n))\n"
        f"maps = {[matrix_2d(TSV)[:2].tolist(), matrix_3d(TVR)[:3].tolist()]}, "
        f"{[matrix_2d(TVS)[:2].tolist(), matrix_3d(TRV)[:3].tolist()]}\n"
        "for work, (flat, deep) in zip((xy_to_pir, pir_to_xy), maps):\n"
        "    started = time.perf_counter()\n"
        "    work(columns, np.array(flat), np.array(deep))\n"
        "    print(time.perf_counter() - started)\n"
    )
    done = subprocess.run([python, "-c", code, str(n)], check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--atldld", metavar="PYTHON", help="an interpreter that has atldld")
    options = parser.parse_args()
    n = options.points
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 4000, (n, 2))
    pir = rng.uniform((0, 0, 0), (13200, 8000, 11400), (n, 3))
    atlas = sample_atlas()

    # the peak of ours is taken before anything else has run
    before = peak_bytes()
    there = atlas.image_to_reference(101349756, xy)
    back = atlas.reference_to_image(9, pir, [479])
    answers = there.pir.nbytes + back.xy.nbytes + back.section_image_id.nbytes + back.section_number.nbytes
    beyond = peak_bytes() - before - answers
    few = slice(0, min(n, 100_000))
    columns, pir_columns = np.vstack([xy.T, np.full(n, 4 * 25.0)]), np.ascontiguousarray(pir.T)
    tsv, tvr, trv, tvs = in_volume(TSV), matrix_3d(TVR), matrix_3d(TRV), in_volume(TVS)
    difference = {
        "image_to_reference": float(
            np.abs(there.pir[few].T - affine_of_columns(tsv, tvr, columns[:, few])).max()
        ),
        "reference_to_image": float(np.abs(back.xy[few, 0] - nearest_then_product(pir[few])).max()),
    }
    others = {
        "image_to_reference": "atldld's way (float32 matrices)",
        "reference_to_image": "plain numpy (float64)",
    }
    del there, back

    ways: dict[str, Callable[[], object]] = {
        "image_to_reference, ours": lambda: atlas.image_to_reference(101349756, xy),
        "image_to_reference, atldld's way": lambda: affine_of_columns(tsv, tvr, columns),
        "reference_to_image, ours": lambda: atlas.reference_to_image(9, pir, [479]),
        "reference_to_image, atldld's way": lambda: affine_of_columns(trv, tvs, pir_columns),
        "reference_to_image, plain numpy": lambda: nearest_then_product(pir),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, work in ways.items():
            taken[name].append(seconds(work))
        if options.atldld:
            for name, elapsed_s in zip(
                ("xy_to_pir", "pir_to_xy"), atldld_seconds(options.atldld, n), strict=True
            ):
                taken.setdefault(f"{name} of atldld itself", []).append(elapsed_s)
    request_s = seconds_of_one_request()

    print(f"{n:,} points, {options.rounds} interleaved rounds, one core, medians")
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"  {name:34} {median:8.3f} s  {n / median / 1e6:8.1f} M points/s")
    print(
        f"  {'one HTTP request a point, loopback':34} {n * request_s:8.0f} s  {1e-6 / request_s:8.4f} M points/s"
    )
    print(f"memory beyond the answers: {max(beyond, 0) / 2**20:.0f} MiB")
    for name, value in difference.items():
        print(f"largest difference, {name}: {value:.1e}, from {others[name]}")


if __name__ == "__main__":
    main()
