"""Where machines are: what can be typed, and what files describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncfetch.cluster.places import (
    Configuration,
    Local,
    Remote,
    check_where,
    parse_where,
    read_configuration,
)
from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("local", Local()),
        ("local:4", Local(4)),
        ("tcp://10.0.0.5:8786", Remote("tcp://10.0.0.5:8786")),
        ("tls://head.example.org:8786", Remote("tls://head.example.org:8786")),
    ],
)
def test_a_cluster_is_this_machine_or_an_address(text, where):
    assert parse_where(text) == where


def test_a_cluster_is_a_file_that_is_there(tmp_path):
    (tmp_path / "slurm").write_text("class: a.B\n")
    assert parse_where(str(tmp_path / "slurm")) == tmp_path / "slurm"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("local:0", "1 to 1024"),
        ("local:99999", "1 to 1024"),
        ("tcp://", "not an address"),
        ("tcp://a b", "not an address"),
        ("slurm.yaml", "no such file"),
        ("4", "choose one of: local, local:4"),
        ("", "choose one of"),
    ],
)
def test_what_is_not_a_cluster_is_told_with_what_is(text, words):
    with pytest.raises(SettingsError, match=words) as caught:
        parse_where(text)
    assert caught.value.setting == "cluster"


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_a_file_names_a_class_its_arguments_and_how_many_workers(tmp_path):
    path = written(
        tmp_path,
        "class: dask_jobqueue.SLURMCluster\narguments: {queue: short, cores: 8, memory: 32GB}\n"
        "workers: {minimum: 1, maximum: 20}\nconfig: {distributed.comm.timeouts.connect: 60s}\n",
    )
    assert read_configuration(path) == Configuration(
        kind="dask_jobqueue.SLURMCluster",
        arguments={"queue": "short", "cores": 8, "memory": "32GB"},
        workers={"minimum": 1, "maximum": 20},
        settings={"distributed.comm.timeouts.connect": "60s"},
    )


def test_the_configuration_of_jobqueue_itself_is_taken(tmp_path):
    path = written(tmp_path, "jobqueue:\n  slurm:\n    queue: short\n    cores: 8\nworkers: 4\n")
    assert read_configuration(path) == Configuration(
        kind="dask_jobqueue.SLURMCluster",
        workers=4,
        settings={"jobqueue": {"slurm": {"queue": "short", "cores": 8}}},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "not a YAML file with keys"),
        ("class: [a\n", "not a YAML file"),
        ("arguments: {}\n", "the key class is missing"),
        ("class: a.B\nqueue: short\n", "queue is not a key"),
        ("class: a.B\nworkers: -1\n", "workers is a number"),
        ("class: a.B\nworkers: {least: 1}\n", "workers is a number"),
        ("class: a.B\narguments: 3\n", "arguments"),
        ("class: SLURMCluster\n", "not a class with its module"),
        ("jobqueue: {slurm: {}, pbs: {}}\n", "one section below jobqueue"),
        ("jobqueue: {abacus: {}}\n", "abacus is not one of"),
    ],
)
def test_a_file_that_describes_no_cluster_is_told_what_is_wrong(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match=words):
        check_where(str(path))
