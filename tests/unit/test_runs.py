"""What is taken from the record of a run, and what is not."""

from __future__ import annotations

from asyncfetch.runs import KEPT_SETTINGS
from asyncfetch.settings import Settings

#: How, how fast and from whom bytes come is the user's affair, whatever a store says.
OF_THE_USER = {
    "attempts",
    "base_url",
    "bytes_per_s",
    "connect_timeout_s",
    "hedge",
    "jobs",
    "max_jobs",
    "memory_bytes",
    "min_speed_bytes_per_s",
    "ngff",
    "outage_patience_s",
    "page_rows",
    "proxy",
    "requests_per_s",
    "retry_base_s",
    "stall_timeout_s",
    "sync",
    "trusted_hosts",
    "workers",
}


def test_each_setting_is_either_kept_by_a_run_or_the_users():
    assert set(KEPT_SETTINGS).isdisjoint(OF_THE_USER)
    assert {*KEPT_SETTINGS, *OF_THE_USER} == set(Settings.__struct_fields__)
