"""Names that scripts may still use: each works, with a warning that says the new one."""

from __future__ import annotations

import pytest

from asyncfetch import replica, sample, server


@pytest.mark.parametrize(("name", "home"), [("open_replica", replica), ("compare_plane", sample)])
def test_names_of_the_old_server_package_are_those_of_the_replica_and_of_the_sample_atlas(name, home):
    with pytest.warns(DeprecationWarning, match=rf"{home.__name__}\.{name}"):
        assert getattr(server, name) is getattr(home, name)


def test_a_name_that_the_server_package_never_had_is_refused():
    with pytest.raises(AttributeError, match=r"asyncfetch\.server"):
        server.nothing  # noqa: B018 - reading it is what is tried
