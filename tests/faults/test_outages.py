"""A host that fails as a whole in the middle of a run: it is waited for, and nobody's attempts are used up."""

from __future__ import annotations

import re

import pytest

from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.errors import OutageError
from asyncfetch.events import OutageBegan, OutageEnded, OutageProbed, SectionCommitted
from asyncfetch.replica import Fault

SELECTION = "dataset:900000005"
# With how many attempts: 503s of one moment count as one failure, so that they are told for an outage later.
KINDS = {"status:500": 6, "status:503": 6, "html": 6, "reset-before-headers": 6}


class Outage:
    """An outage that begins when so many sections are committed, and ends after so many probes."""

    def __init__(self, kind, *, after=3, n_probes=3):
        self.fault = Fault(kind)
        self.is_on = False
        self._n_before, self._n_probes = after, n_probes

    def __call__(self, _key):
        return self.fault if self.is_on else None

    def follow(self, event):
        if isinstance(event, SectionCommitted):
            self._n_before -= 1
            self.is_on |= self._n_before == 0
        elif isinstance(event, OutageProbed):
            self._n_probes -= 1
            self.is_on &= self._n_probes != 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_outage_is_waited_out_and_changes_no_byte(
    run, undisturbed, stays_within_the_quota, tmp_path, kind
):
    outage = Outage(kind)
    outcome = run(SELECTION, tmp_path, outage, on_event=outage.follow, attempts=KINDS[kind], jobs=2)
    assert outcome.report.failures == []
    assert outcome.objects == undisturbed(SELECTION)
    stays_within_the_quota(outcome)
    seen = [type(each) for each in outcome.events]
    assert seen.index(OutageBegan) < seen.index(OutageProbed) < seen.index(OutageEnded)


def test_an_outage_beyond_patience_ends_the_run_and_is_resumed(run, undisturbed, tmp_path):
    outage = Outage("status:502", n_probes=0)
    first = run(SELECTION, tmp_path, outage, on_event=outage.follow, jobs=2, outage_patience_s=0.2)
    assert first.report.is_cut_short
    assert not first.report.interrupted
    assert exit_code_of_report(first.report) == ExitCode.SERVICE_UNAVAILABLE
    assert first.report.n_committed >= 3
    assert first.report.n_committed + first.report.n_failed == 10
    errors, messages = zip(*first.causes.values(), strict=True)
    assert set(errors) == {OutageError.__name__}
    assert all(
        re.match(r"the server has answered with errors only for .* HTTP 502", each) for each in messages
    )
    assert {item.partition(":")[0] for item in first.causes} == {"image"}
    again = run(None, tmp_path)
    assert again.report.failures == []
    assert again.report.n_skipped >= 3
    assert again.objects == undisturbed(SELECTION)
