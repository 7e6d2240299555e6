"""Names that scripts may still use: each works, with a warning that says the new one."""

from __future__ import annotations

from functools import partial

import anyio
import msgspec
import pytest

from asyncfetch import blocking, figures, metrics, mirroring, replica, sample, server
from asyncfetch.cli.configuration import settings_from
from asyncfetch.deprecation import OldAttribute
from asyncfetch.errors import SettingsError, StoreError
from asyncfetch.events import RequestFinished
from asyncfetch.metrics import Metrics
from asyncfetch.options import settings_of
from asyncfetch.settings import Settings, read_environment
from asyncfetch.store import StoredDataSet


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


@pytest.mark.parametrize(
    "make",
    [
        lambda: Settings(most_jobs=3),
        lambda: Settings().replace(most_jobs=3),
        lambda: Settings.from_layers({"Most_Jobs": "3"}),
        lambda: Settings.from_layers({"most_jobs": 3}, {"max_jobs": 9}),
        lambda: Settings.from_layers(read_environment({"ASYNCFETCH_MOST_JOBS": "3"})),
        lambda: settings_of(None, {"most_jobs": 3}),
    ],
    ids=[
        "Settings()",
        "replace",
        "from_layers",
        "the first layer counts",
        "the environment",
        "an option of a call",
    ],
)
def test_most_jobs_is_max_jobs_by_its_old_name(make):
    with pytest.warns(DeprecationWarning, match=r"^the setting most_jobs is now max_jobs$"):
        assert make() == Settings(max_jobs=3)


def test_the_old_name_of_a_setting_does_not_count_beside_the_new_one():
    with pytest.warns(DeprecationWarning, match="max_jobs"):
        assert Settings(most_jobs=3, max_jobs=5).max_jobs == 5


def test_a_wrong_value_under_an_old_name_is_refused_by_the_new_one():
    with (
        pytest.warns(DeprecationWarning, match="max_jobs"),
        pytest.raises(SettingsError, match=r"ASYNCFETCH_MOST_JOBS: max_jobs = 0 is not allowed"),
    ):
        read_environment({"ASYNCFETCH_MOST_JOBS": "0"})


@pytest.mark.parametrize(
    ("old", "new"), [("most_jobs", "max_jobs"), ("most_images_at_once", "max_images_at_once")]
)
def test_attributes_of_settings_can_be_read_by_their_old_names(old, new):
    settings = Settings(max_jobs=7)
    with pytest.warns(DeprecationWarning, match=rf"Settings\.{old} is now Settings\.{new}") as told:
        assert getattr(settings, old) == getattr(settings, new) == 7
    assert told[0].filename == __file__


def test_a_command_notes_an_old_name_in_the_file_and_in_the_environment(tmp_path, monkeypatch, capsys):
    file = tmp_path / "settings.toml"
    file.write_text("most_jobs = 3\n")
    monkeypatch.setenv("ASYNCFETCH_MOST_JOBS", "5")
    assert settings_from(file).max_jobs == 5
    monkeypatch.delenv("ASYNCFETCH_MOST_JOBS")
    assert settings_from(file).max_jobs == 3
    assert capsys.readouterr().err.splitlines() == ["note: the setting most_jobs is now max_jobs"] * 3


@pytest.mark.parametrize(("old", "new"), [("Figures", "Metrics"), ("Histogram", "Histogram")])
def test_names_of_the_old_module_of_figures_are_those_of_the_metrics(old, new):
    with pytest.warns(DeprecationWarning, match=rf"figures\.{old} is now asyncfetch\.metrics\.{new}$"):
        assert getattr(figures, old) is getattr(metrics, new)


def test_a_name_that_the_module_of_figures_never_had_is_refused():
    with pytest.raises(AttributeError, match=r"asyncfetch\.figures"):
        figures.nothing  # noqa: B018 - reading it is what is tried


VOLUME = {"um": 200.0, "shape": (1, 1, 1), "n_levels": 1, "n_planes": 2, "n_gaps": 0, "max_gap_um": 200.0}
REPORTS = [
    mirroring.Report(selection=(), location="here"),
    mirroring.VolumeReport(location="here", data_set_id=1, view="image", **VOLUME),
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda each: type(each).__name__)
def test_a_report_gives_its_metrics_as_figures_too(report):
    name = type(report).__name__
    with pytest.warns(DeprecationWarning, match=rf"^{name}\.figures is now {name}\.metrics$") as told:
        assert report.figures is report.metrics
    assert told[0].filename == __file__
    assert report.as_dict()["figures"] == report.as_dict()["metrics"] == msgspec.to_builtins(report.metrics)


def test_the_largest_window_can_be_read_by_its_old_name():
    with pytest.warns(DeprecationWarning, match=r"Metrics\.most_window is now Metrics\.max_window"):
        assert Metrics(max_window=9).most_window == 9


def test_the_wait_for_the_window_can_be_read_by_its_old_name():
    event = RequestFinished(
        url="", kind="image", attempt=1, status=200, size_bytes=1, elapsed_s=1.0, waited_window_s=0.5
    )
    with pytest.warns(DeprecationWarning, match=r"waited_place_s is now RequestFinished\.waited_window_s"):
        assert event.waited_place_s == 0.5


class Shelf:
    def read_books(self):
        return ["a book"]

    books = OldAttribute(read_books)


def test_an_attribute_that_became_a_method_gives_what_the_method_gives():
    with pytest.warns(
        DeprecationWarning, match=r"^Shelf\.books is now Shelf\.read_books\(\), because it reads"
    ):
        books = Shelf().books
    assert books == Shelf().read_books()


def test_nothing_is_read_or_said_when_the_class_is_looked_at():
    assert Shelf.books.__doc__ == "The old form of ``read_books()``."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("table", "read_table"),
        ("section_data_set", "read_section_data_set"),
        ("registered_layout", "read_registered_layout"),
        ("volume_layout", "read_volume_layout"),
        ("volume_levels", "open_volume_levels"),
    ],
)
def test_what_reads_the_disk_for_a_stored_data_set_is_a_method_and_keeps_its_old_name(old, new):
    assert callable(getattr(StoredDataSet, new))
    assert getattr(StoredDataSet, old).__doc__ == f"The old form of ``{new}()``."


def test_options_of_the_replica_are_taken_under_their_old_names():
    with pytest.warns(
        DeprecationWarning, match=r"ServerOptions\(most_records=…\) is now max_records=…$"
    ) as told:
        assert replica.ServerOptions(most_records=3).max_records == 3
    assert told[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="max_records"):
        assert replica.ServerOptions(most_records=3, max_records=4).max_records == 4


def test_the_protocol_of_the_replica_is_found_under_its_old_name():
    with pytest.warns(DeprecationWarning, match=r"replica\.Atlas is now asyncfetch\.replica\.AtlasSource$"):
        assert replica.Atlas is replica.AtlasSource
    with pytest.raises(AttributeError, match=r"asyncfetch\.replica"):
        replica.nothing  # noqa: B018 - reading it is what is tried
