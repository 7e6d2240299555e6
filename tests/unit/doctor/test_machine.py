"""What the doctor says about a machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import trustme

from asyncfetch import Settings
from asyncfetch.doctor import examine_disk, examine_machine
from asyncfetch.doctor.cgroup import Limits, read_limits
from asyncfetch.doctor.disk import write_speed


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def member(tmp_path, text):
    path = tmp_path / "membership"
    path.write_text(text + "\n")
    return path


def facts(place, environment, **settings):
    return {fact.name: fact for fact in examine_machine(place, Settings(**settings), environment)}


def test_the_tightest_quota_of_the_groups_above_counts(tmp_path):
    group(tmp_path / "cg", cpu__max="400000 100000", memory__max="max")
    group(tmp_path / "cg/pod", cpu__max="150000 100000", memory__max="2147483648")
    group(tmp_path / "cg/pod/job", cpu__max="max 100000", memory__max="8589934592")
    limits = read_limits(tmp_path / "cg", member(tmp_path, "0::/pod/job"))
    assert limits == Limits(cores=1.5, memory_bytes=2**31)


def test_version_1_of_control_groups_is_read(tmp_path):
    group(tmp_path / "cg/cpu,cpuacct/job", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    group(tmp_path / "cg/memory/job", memory__limit_in_bytes="1073741824")
    membership = member(tmp_path, "4:memory:/job\n3:cpu,cpuacct:/job")
    assert read_limits(tmp_path / "cg", membership) == Limits(cores=0.5, memory_bytes=2**30)


@pytest.mark.parametrize("quota", ["max 100000", "", "-1 100000", "100000 0", "words"])
def test_a_group_without_a_limit_sets_none(tmp_path, quota):
    group(tmp_path / "cg", cpu__max=quota, memory__limit_in_bytes="9223372036854771712")
    assert read_limits(tmp_path / "cg", member(tmp_path, "0::/")) == Limits()


def test_a_machine_without_control_groups_has_no_limits(tmp_path):
    assert read_limits(tmp_path / "none", tmp_path / "none") == Limits()


def test_a_membership_cannot_lead_out_of_the_mounted_groups(tmp_path):
    group(tmp_path, cpu__max="1 100000")
    group(tmp_path / "cg", cpu__max="200000 100000")
    assert read_limits(tmp_path / "cg", member(tmp_path, "0::/../..")).cores == 2.0


@pytest.mark.parametrize(
    ("environment", "setting", "proxies"),
    [
        (
            {"HTTPS_PROXY": "http://anna:secret@proxy:3128", "no_proxy": ".local"},
            "environment",
            {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": ".local"},
        ),
        ({"HTTP_PROXY": "anna:secret@proxy:3128"}, "environment", {"HTTP_PROXY": "http://proxy:3128"}),
        ({"all_proxy": "http://proxy:3128"}, "environment", {"all_proxy": "http://proxy:3128"}),
        ({"no_proxy": "*"}, "environment", {}),
        ({"http_proxy": "http://proxy:3128"}, "none", {}),
        ({"http_proxy": "http://proxy:3128"}, "http://anna:secret@fixed:1", {"proxy": "http://fixed:1"}),
    ],
)
def test_the_proxies_are_those_of_a_run_and_shown_without_credentials(
    tmp_path, environment, setting, proxies
):
    found = facts(tmp_path, environment, proxy=setting)
    assert found["proxies"].value == proxies
    assert "secret" not in str(found)
    assert "anna" not in str(found)


def test_a_proxy_that_cannot_be_used_is_told_with_what_to_do(tmp_path):
    advice = facts(tmp_path, {"http_proxy": "socks5://proxy:1080"})["proxies"].advice
    assert "http_proxy names a socks5 proxy" in advice
    assert "ASYNCFETCH_PROXY=none" in advice


TRUST_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture
def authority(tmp_path):
    path = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return str(path)


@pytest.mark.parametrize("variable", TRUST_VARIABLES)
def test_a_trust_store_that_does_not_exist_is_told(tmp_path, variable):
    missing = str(tmp_path / "institution.pem")
    fact = facts(tmp_path, {variable: missing})["certificates"]
    assert f"{variable} names {missing}, which does not exist" in fact.advice
    assert fact.shown == "cannot be used"


@pytest.mark.parametrize("variable", TRUST_VARIABLES)
def test_a_trust_store_without_certificates_is_told(tmp_path, variable):
    (tmp_path / "words.pem").write_text("words")
    fact = facts(tmp_path, {variable: str(tmp_path / "words.pem")})["certificates"]
    assert "holds no certificates" in fact.advice


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_certificates_are_those_that_a_run_verifies_with(tmp_path, authority, variable):
    fact = facts(tmp_path, {variable: authority})["certificates"]
    assert (fact.value["files"], fact.value["folders"], fact.value["n_loaded"]) == ((authority,), (), 1)
    assert fact.shown == f"{authority} (named by {variable})"
    assert fact.advice is None


def test_variables_that_others_go_before_are_shown_as_not_used(tmp_path, authority):
    environment = {
        "SSL_CERT_FILE": authority,
        "CURL_CA_BUNDLE": "/other.pem",
        "REQUESTS_CA_BUNDLE": authority,
    }
    fact = facts(tmp_path, environment)["certificates"]
    assert fact.value["variables"] == {"SSL_CERT_FILE": authority}
    assert fact.shown.endswith(
        f"(named by SSL_CERT_FILE); not used: REQUESTS_CA_BUNDLE={authority}, CURL_CA_BUNDLE=/other.pem"
    )
    del environment["SSL_CERT_FILE"]
    fact = facts(tmp_path, environment)["certificates"]
    assert fact.shown == f"{authority} (named by REQUESTS_CA_BUNDLE); not used: CURL_CA_BUNDLE=/other.pem"


def test_a_budget_beyond_the_memory_is_told_with_one_that_fits(tmp_path):
    assert facts(tmp_path, {}, memory_bytes=2**24)["memory"].advice is None
    assert "use --memory" in facts(tmp_path, {}, memory_bytes=2**60)["memory"].advice


def test_each_fact_stands_once_and_names_what_a_report_needs(tmp_path):
    found = examine_machine(tmp_path, Settings(), os.environ)
    names = [fact.name for fact in found]
    assert len(names) == len(set(names))
    assert {
        "asyncfetch",
        "Python",
        "libraries",
        "cores",
        "memory",
        "free space",
        "free inodes",
        "disk speed",
        "open files",
        "proxies",
        "certificates",
        "time",
        "encoding",
    } <= set(names)


def test_the_disk_of_a_store_that_does_not_exist_yet_is_that_of_its_folder(tmp_path):
    found = {fact.name: fact for fact in examine_disk(tmp_path / "new" / "brains.zarr")}
    assert found["free space"].value == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert found["disk speed"].value > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/fd is Linux's")
def test_a_disk_that_takes_nothing_is_told():
    found = {fact.name: fact for fact in examine_disk(Path("/proc/self"))}
    assert "nothing can be written" in found["disk speed"].advice


def test_the_trial_of_the_disk_writes_no_more_than_it_says(tmp_path, monkeypatch):
    sizes = []

    class Counted:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self._file.close()

        def write(self, piece):
            sizes.append(len(piece))
            return self._file.write(piece)

        def flush(self):
            self._file.flush()

        def fileno(self):
            return self._file.fileno()

    import tempfile

    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: Counted(make(**options)))
    write_speed(tmp_path, n_pieces=3, longest_s=60.0)
    assert sum(sizes) == 3 * 2**20
    sizes.clear()
    write_speed(tmp_path, n_pieces=1000, longest_s=0.0)
    assert sum(sizes) == 2**20
