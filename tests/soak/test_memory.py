"""Memory is bounded by the budget and not by the work."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

MAX_KIB = int(1.6 * 2**20)

# The kernel's own count of the most memory that any ended child had resident: KiB on Linux.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, "-m", "asyncfetch", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
raise SystemExit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
@pytest.mark.parametrize("layers", ["source,registered", "source,sections,registered"])
def test_forty_sections_of_44_megapixels_stay_under_1_6_gib(
    start_replica, tmp_path, tmp_path_factory, layers
):
    replica = start_replica(cache_folder=str(tmp_path_factory.getbasetemp() / "drawn-123"))
    arguments = ["mirror", "dataset:123", "--downsample", "0", "--memory", "1GiB", "--layers", layers]
    arguments += ["--out", str(tmp_path / "out.zarr"), "--base-url", replica.base_url, "--rate", "1000"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments, "--json", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    peak_kib = int(done.stderr.split()[-1])
    print(f"layers {layers}: peak {peak_kib / 1024:.0f} MiB, {report['elapsed_s']:.1f} s")
    assert (report["n_committed"], report["pixels"]) == (40, 40 * 8992 * 4936)
    assert peak_kib < MAX_KIB


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
def test_an_image_of_918_megapixels_stays_under_the_budget_and_300_mb(
    start_replica, tmp_path, tmp_path_factory
):
    replica = start_replica(cache_folder=str(tmp_path_factory.getbasetemp() / "drawn-huge"))
    arguments = ["mirror", "dataset:900000010", "--downsample", "0", "--memory", "1GiB"]
    arguments += ["--layers", "sections,registered", "--codec", "blosc-lz4", "--rate", "1000"]
    arguments += ["--out", str(tmp_path / "out.zarr"), "--base-url", replica.base_url]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments, "--json", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    peak_bytes = 1024 * int(done.stderr.split()[-1])
    print(f"one image of 918 MPix: peak {peak_bytes / 1e6:.0f} MB, {report['elapsed_s']:.1f} s")
    assert (report["n_committed"], report["pixels"]) == (1, 27000 * 34000)
    assert peak_bytes < 2**30 + 300e6
