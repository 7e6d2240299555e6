"""The help and the completion of the commands, which are made when they are asked for."""

from __future__ import annotations

import re

import pytest
import typer.testing

from asyncfetch.cli import app, register_commands
from asyncfetch.cli.commands import serve
from asyncfetch.cli.parsing import App

register_commands()

#: What the help needs no more than the commands do before they run.


def run(*args, **environment):
    result = typer.testing.CliRunner().invoke(app, args, env={"COLUMNS": "80", **environment})
    assert result.exit_code == 0, result.output
    return result.stdout


def complete(shell, line):
    """Return what Tab offers after a line."""
    words = line.split(" ")
    environment = {
        "_ASYNCFETCH_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    return run(COLUMNS="1000", **{name: value for name, value in environment.items() if name != "COLUMNS"})


def test_the_help_lists_every_command_whole_and_under_its_heading():
    text = run("--help")
    at, width = 0, max(map(len, app.commands))
    for panel, names in app.panels.items():
        at = text.index(f"\n{panel}:\n", at)
        for name in names:
            start = text.index(f"\n  {name} ", at)
            line = text[start + 1 :].partition("\n")[0]
            assert line == f"  {name:{width}}  {app.commands.one_liner(name)}"
            assert len(line) <= 80
            at = start
    assert sum(map(len, app.panels.values())) == len(app.commands)


@pytest.mark.parametrize("command", list(app.commands))
def test_the_help_of_a_command_fits_80_columns(command):
    lines = run(command, "--help").splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(re.search("<[a-z]", line) for line in lines), "types in brackets say nothing to users"


def test_the_help_shows_the_default_of_a_setting_as_it_is_typed():
    text = " ".join(run("mirror", "--help").split())
    assert "[default: source,registered]" in text
    assert "[default: 1GiB]" in text
    assert "[default: (" not in text


@pytest.mark.parametrize("command", list(app.commands))
def test_the_help_of_all_commands_says_what_that_of_each_begins_with(command):
    assert app.commands[command].get_short_help_str() == app.commands.one_liner(command)


def test_a_command_is_made_when_it_is_asked_for():
    made = []
    lazy = App(lambda function: made.append(function.__name__) or function)
    lazy.callback()(lambda: None)
    for name in ("one", "two"):
        lazy.command(name)(lambda: None)
    runner = typer.testing.CliRunner()
    assert "two" in runner.invoke(lazy, ["--help"]).stdout
    assert made == []
    assert runner.invoke(lazy, ["two"]).exit_code == 0
    assert len(made) == 1
    assert runner.invoke(lazy, ["tow"]).exit_code == 2
    assert "Did you mean 'two'?" in runner.invoke(lazy, ["tow"]).stderr


def test_a_command_is_a_function_like_any_other(capsys):
    serve.serve(differences=["list"])
    assert "RMA-4=cap4\t" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_completes_commands_options_and_names(shell):
    assert "volume" in complete(shell, "asyncfetch vol")
    assert "--numeric-expression" in complete(shell, "asyncfetch mirror --num")
    assert "blosc-lz4" in complete(shell, "asyncfetch mirror --codec bl")
    assert "source,registered" in complete(shell, "asyncfetch mirror --layers source,re")
    assert "source,source" not in complete(shell, "asyncfetch mirror --layers source,so")


def test_what_a_shell_is_offered_is_one_line_each():
    offers = complete("fish", "asyncfetch mirror --").splitlines()
    assert {offer.partition("\t")[0] for offer in offers} >= {"--um", "--roi", "--rate", "--help"}
    assert all(offer.startswith("--") for offer in offers)
    assert not any("[" in offer for offer in offers)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown_and_installed(shell, monkeypatch):
    # which shell types is found by looking at the processes above; the tests are run by none
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    assert "_ASYNCFETCH_COMPLETE=complete_" + shell in run("--show-completion")
