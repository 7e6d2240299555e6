"""Names that scripts may still use: each works, with a warning that says the new one."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from asyncfetch import blocking, mirroring, replica, sample, server
from asyncfetch.errors import StoreError


@pytest.mark.parametrize(("name", "home"), [("open_replica", replica), ("compare_plane", sample)])
def test_names_of_the_old_server_package_are_those_of_the_replica_and_of_the_sample_atlas(name, home):
    with pytest.warns(DeprecationWarning, match=rf"{home.__name__}\.{name}"):
        assert getattr(server, name) is getattr(home, name)


def test_a_name_that_the_server_package_never_had_is_refused():
    with pytest.raises(AttributeError, match=r"asyncfetch\.server"):
        server.nothing  # noqa: B018 - reading it is what is tried


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("build_volume", "volume"),
        ("forecast", "estimate"),
        ("Forecast", "Estimate"),
        ("ViewForecast", "ViewEstimate"),
    ],
)
def test_old_names_of_mirroring_are_the_calls_and_results_of_the_new_ones(old, new):
    with pytest.warns(DeprecationWarning, match=rf"mirroring\.{old} is now asyncfetch\.mirroring\.{new}$"):
        assert getattr(mirroring, old) is getattr(mirroring, new)


def test_a_name_that_mirroring_never_had_is_refused():
    with pytest.raises(AttributeError, match=r"asyncfetch\.mirroring"):
        mirroring.nothing  # noqa: B018 - reading it is what is tried


@pytest.mark.parametrize("call", [partial(anyio.run, mirroring.rebuild), blocking.rebuild])
def test_the_layers_of_a_rebuild_may_still_be_given_by_position(call, tmp_path):
    def go():
        # that there is no store is said by the call itself, which the layers reached
        with pytest.raises(StoreError, match="nothing"):
            call(tmp_path / "nothing", ("sections",))

    with pytest.warns(DeprecationWarning, match=r"rebuild\(\) takes layers by keyword now; write layers="):
        go()


def test_a_rebuild_takes_no_more_by_position_than_it_did(tmp_path):
    with pytest.raises(TypeError, match="positional"):
        blocking.rebuild(tmp_path, ("sections",), [1])
