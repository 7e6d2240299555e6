"""One table of options: each setting has one, commands take what their Python functions take, and the pages agree."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest
import typer.testing

from asyncfetch import exporting, mirroring, upgrading
from asyncfetch.allen import ImageRequest
from asyncfetch.atlas import Atlas
from asyncfetch.cli import app, register_commands
from asyncfetch.cli.commands import rebuild
from asyncfetch.cli.configuration import Given, spread_settings
from asyncfetch.cli.narrowing import FILTER_OPTIONS
from asyncfetch.cli.options import (
    MACHINE,
    RECIPE,
    REGION,
    SERVER,
    SETTING_OPTIONS,
    WRITING,
    default_of,
    flag_of,
    takes,
)
from asyncfetch.client.queries import data_sets_query
from asyncfetch.errors import SettingsError
from asyncfetch.layout.recipe import CHOSEN
from asyncfetch.limits import Limit
from asyncfetch.mirroring import structures
from asyncfetch.replica.options import ServerOptions
from asyncfetch.selecting import Filters
from asyncfetch.selecting.traits import TRAITS, flag_of_trait
from asyncfetch.settings import CHOICES, Settings

register_commands()

PAGES = Path(__file__).parents[3] / "docs" / "reference"
#: A value of each setting that is not its default, as it is typed and as it arrives.
TYPED = {
    "space": ("9", 9),
    "ngff": ("0.6", "0.6"),
    "base_url": ("http://localhost:1", "http://localhost:1"),
    "trusted_hosts": ("a.example,b.example", ("a.example", "b.example")),
    "proxy": ("none", "none"),
    "um": ("10", 10.0),
    "downsample": ("3", 3),
    "views": ("expression,image", ("expression", "image")),
    "layers": ("sections,registered", ("sections", "registered")),
    "codec": ("jpegxl", "jpegxl"),
    "interpolation": ("cubic", "cubic"),
    "fetch": ("tiles", "tiles"),
    "roi": ("1,2,3,4", (1, 2, 3, 4)),
    "roi_um": ("1:2,3:4,5:6", ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))),
    "roi_space": ("10", 10),
    "pad_um": ("1mm", 1000.0),
    "bytes_per_s": ("4MB", 4e6),
    "memory_bytes": ("2GiB", 2**31),
    "sync": ("all", "all"),
}
#: What some settings go together with.
BESIDE = {"roi": ["--layers", "registered"], "roi_um": ["--layers", "registered"]}
BESIDE["pad_um"] = [*BESIDE["roi"], "--roi", "structure:CA1"]


def table_of(page, first):
    """Return the rows of the table of a page whose first column has this title, without backticks."""
    lines = (PAGES / page).read_text(encoding="utf-8").splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(
            [cell.strip().replace("`", "") for cell in line.strip("|").replace("\\|", "¦").split("|")]
        )
    return rows


def flags_of(command):
    return {
        flag
        for parameter in app.commands[command].params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }


def test_each_setting_has_one_option():
    assert sorted(row.setting for row in SETTING_OPTIONS) == sorted(Settings.__struct_fields__)
    assert len({row.flag for row in SETTING_OPTIONS}) == len(SETTING_OPTIONS)


@pytest.mark.parametrize("row", SETTING_OPTIONS, ids=lambda row: row.setting)
def test_an_option_sets_its_setting(row):
    seen = []

    def show(given: takes_all()) -> None:
        seen.append(given.settings())

    runner = typer.testing.CliRunner()
    alone = typer.Typer(add_completion=False)
    alone.command()(spread_settings(show))
    assert runner.invoke(alone, []).exit_code == 0
    typed, arrives = TYPED.get(row.setting, ("7", 7))
    flag, _, negation = row.flag.partition("/")
    given = [flag] if negation else [flag, typed]
    result = runner.invoke(alone, [*given, *BESIDE.get(row.setting, [])])
    assert result.exit_code == 0, result.exception
    assert seen[0] == Settings()
    assert getattr(seen[1], row.setting) == (True if negation else arrives)
    assert seen[1] != Settings()
    if negation:
        runner.invoke(alone, [negation], env={f"ASYNCFETCH_{row.setting.upper()}": "true"})
        assert getattr(seen[2], row.setting) is False


def takes_all():
    from typing import Annotated

    return Annotated[Given, takes(RECIPE, REGION, SERVER, MACHINE, WRITING)]


@pytest.mark.parametrize("row", SETTING_OPTIONS, ids=lambda row: row.setting)
def test_a_wrong_value_is_told_as_it_was_typed(row):
    with pytest.raises(SettingsError) as caught:
        Given({row.setting: "/"}).settings()
    message = caught.value.message
    assert message.startswith(f"{flag_of(row.setting)} ")
    assert row.setting == flag_of(row.setting).removeprefix("--") or row.setting not in message
    assert "expected" not in message, "words of a library"


def test_the_name_of_an_option_in_a_settings_file_leads_to_its_setting():
    for row in SETTING_OPTIONS:
        name = flag_of(row.setting).removeprefix("--").replace("-", "_")
        if name == row.setting:
            continue
        with pytest.raises(SettingsError, match=f"did you mean {row.setting}\\?"):
            Settings.from_layers({name: 1})


def test_the_page_of_settings_agrees_with_the_table_and_with_the_defaults():
    rows = [
        (setting, option, default)
        for setting, option, default, _meaning in table_of("settings.md", "setting")
    ]
    assert rows == [(row.setting, row.flag.replace("/", ", "), default_of(row)) for row in SETTING_OPTIONS]


def test_the_room_around_a_structure_is_what_the_table_says():
    [row] = [row for row in SETTING_OPTIONS if row.setting == "pad_um"]
    assert row.when_unset == f"{structures._PAD_UM:g}um"


def test_the_page_of_the_command_line_lists_the_commands_in_the_panels_of_the_help():
    page = [
        re.sub(r"\W.*", "", cells[0]) for title in app.panels for cells in table_of("command-line.md", title)
    ]
    assert page == list(app.commands)
    assert page == [name for names in app.panels.values() for name in names]


def test_the_page_of_the_command_line_names_only_options_that_there_are():
    for title in app.panels:
        for synopsis, _meaning in table_of("command-line.md", title):
            command = re.sub(r"\W.*", "", synopsis)
            assert set(re.findall(r"--?[a-z][\w-]*", synopsis)) <= flags_of(command)


def test_the_page_of_the_command_line_says_which_commands_take_which_settings():
    for panel, options, commands in table_of("command-line.md", "options for"):
        wanted = [row.flag.partition("/")[0] for row in SETTING_OPTIONS if row.panel == panel]
        assert options.split(", ") == wanted
        taking = [name for name in app.commands if set(wanted) <= flags_of(name) and name != "serve"]
        assert commands.split(", ") == taking
    assert [cells[0] for cells in table_of("command-line.md", "options for")] == [
        RECIPE,
        REGION,
        SERVER,
        MACHINE,
        WRITING,
    ]


#: What a function takes that a command does not: what only a program can hand in, and what a command knows by itself.
NOT_OPTIONS = {
    "drain",
    "executor",
    "on_event",
    "on_progress",
    "on_wait",
    # which is switched by signals
    "pause",
    "options",
    "settings",
    "transport",
    "unreadable",
    "catalogue",
    # which have a table of their own
    "filters",
}
#: Parameters of functions under the names that commands give them.
RENAMED = {
    "location": "out",
    "selection": "selection",
    "folder": "output",
    "numbers": "dismiss",
    "ids": "data_set",
    "range": "bounds",
    "latency_s": "latency_ms",
    "bytes_per_s": "bandwidth",
    "total_bytes_per_s": "total_bandwidth",
    "requests_per_s": "rate_limit",
    "cache_folder": "cache",
    "cache_bytes": "cache_memory",
    "drawing_bytes": "drawing_memory",
    "n_threads": "threads",
    "allow_hosts": "allow_host",
    "log_path": "log",
    "limits": "max_time",
}
#: Of the replica: each is a difference that ``--break`` plays, or what bounds its own records.
OF_THE_REPLICA = {"rounding", "has_last_tier", "ignored_parameters", "max_records", "record_bytes"}


@pytest.mark.parametrize(
    ("command", "function", "left_out"),
    [
        ("mirror", mirroring.mirror, set()),
        ("resume", mirroring.resume, set()),
        ("plan", mirroring.estimate, set()),
        ("rebuild", mirroring.rebuild, set()),
        ("upgrade", upgrading.upgrade, set()),
        ("volume", mirroring.volume, {"data_set_id"}),
        ("volume", mirroring.volumes, {"on_volume"}),
        ("export", exporting.export, set()),
        ("verify", mirroring.verify, set()),
        ("runs", mirroring.dismiss_runs, set()),
        ("search", data_sets_query, set()),
        ("sync", Atlas, set()),
        ("audit", Atlas, set()),
        ("image", ImageRequest, set()),
        ("serve", ServerOptions, OF_THE_REPLICA),
    ],
)
def test_a_command_takes_what_its_function_takes(command, function, left_out):
    names = set(inspect.signature(function).parameters) - NOT_OPTIONS - left_out
    taken = {parameter.name for parameter in app.commands[command].params}
    assert {RENAMED.get(name, name) for name in names} <= taken


@pytest.mark.parametrize(
    "command", ["mirror", "plan", "resume", "verify", "search", "sync", "audit", "image", "doctor"]
)
def test_a_command_that_asks_the_api_takes_every_setting_of_asking(command):
    assert {row.flag.partition("/")[0] for row in SETTING_OPTIONS if row.panel == SERVER} <= flags_of(command)
    assert {"--config", "--record"} <= flags_of(command)


@pytest.mark.parametrize("command", ["mirror", "plan", "search"])
def test_every_command_that_takes_a_selection_takes_every_filter(command):
    assert {flag for row in FILTER_OPTIONS for flag in row.flag.split("/")} <= flags_of(command)


def test_each_filter_has_one_option():
    read = {"bare": None, "column": None, "with_failed": None, "seed": None, "catalogue": None}
    assert {row.name for row in FILTER_OPTIONS} - read.keys() == set(Filters.__struct_fields__)
    assert {row.flag for row in FILTER_OPTIONS} >= {flag_of_trait(trait.name) for trait in TRAITS}


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("mirror", {"--max-bytes", "--max-time", "--until"}),
        ("resume", {"--max-bytes", "--max-time", "--until"}),
        ("rebuild", {"--max-time", "--until"}),
    ],
)
def test_every_limit_has_an_option_where_it_can_be_reached(command, flags):
    assert flags <= flags_of(command)
    assert {flag_of(each) for each in get_args(Limit.__value__)} >= flags


def test_the_page_has_every_filter():
    rows = {row[0] for row in table_of("command-line.md", "filter")}
    flags = {
        f"{row.flag.partition('/')[0]} {row.metavar}".strip().replace("|", "¦") for row in FILTER_OPTIONS
    }
    assert rows == flags


def test_rebuild_takes_over_the_recipe_of_a_store_and_nothing_else():
    assert sorted(rebuild._AS_STORED) == sorted(CHOSEN)
    assert {flag_of(name) for name in CHOSEN} <= flags_of("rebuild")


def test_what_a_setting_takes_by_name_is_in_its_help():
    for row in SETTING_OPTIONS:
        named = CHOICES.get(row.setting, ())
        assert row.setting == "views" or all(each in row.help for each in named), row


def test_old_options_keep_working():
    for command, flags in OLD_FLAGS.items():
        assert set(flags.split()) <= flags_of(command), command


#: The options of the commands before they stood in one table.
OLD_FLAGS = {
    "mirror": "--out -o --um --downsample --view --layers --codec --interpolation --fill --fetch --roi --roi-um "
    "--roi-space --pad --parallel --numeric-expression --base-url --jobs --rate --bandwidth --hedge --memory --workers "
    "--config --record --log-json --metrics --wait --json --quiet -q",
    "resume": "--base-url --jobs --rate --bandwidth --hedge --memory --workers --config --record --log-json --metrics "
    "--wait --json --quiet -q",
    "plan": "--out -o --um --downsample --view --layers --fetch --roi --roi-um --roi-space --pad --base-url --rate "
    "--config --record --json",
    "rebuild": "--layers --um --dataset --codec --numeric-expression --memory --workers --wait --json --quiet -q",
    "volume": "--dataset --view --um --max-gap --codec --workers --wait --json --quiet -q",
    "verify": "--full --repair --part --report --sample --seed --base-url --jobs --rate --memory --workers --wait "
    "--config --json --quiet -q",
    "search": "--gene --product --plane --specimen --failed --json --base-url --rate --config --record",
    "sync": "--image --space --data-set --x --y --z --data-sets --images --structures --atlas --table --store "
    "--base-url --centers --ties --failed-images --convert-spaces --output -o --format --json --jobs --rate "
    "--config --record",
    "audit": "--store --base-url --points --seed --tolerance --convert-spaces --ties --failed-images --json --jobs "
    "--rate --config --record",
    "image": "--out -o --kind --downsample --view --quality --left --top --width --height --base-url --config --record",
    "outlines": "--out -o --base-url --config --record",
    "preview": "--dataset --view --columns --side --volume --out -o",
    "serve": "--host --allow-host --port --latency-ms --bandwidth --total-bandwidth --rate-limit --faults --break "
    "--replay --log --redirect-base --cache",
    "bench": "--base-url --dataset --images --repeats --megapixels --folder --jobs --rate --workers --config --json",
    "doctor": "--out -o --service --base-url --rate --config --record --json",
    "demo": "--out -o --um --jobs --json --quiet -q",
    "runs": "--dismiss --json",
    "status": "--json",
    "info": "--dataset --json",
}
