"""Runners as JSON values, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from axsched_hpc import ConfigError, LocalRunner, SlurmRunner, SubmititRunner
from axsched_hpc.runners.base import BaseRunner, Batch, JobStatus
from axsched_hpc.runners.settings import describe, make, remembered

RUNNERS = [
    LocalRunner(3),
    LocalRunner(),
    SubmititRunner("debug", max_parallel=2),
    SubmititRunner("slurm", 4, slurm_partition="main", timeout_min=5),
    SlurmRunner("main", time_limit=10, memory="1G", config={"environment": {"A": "1"}}, nodes=2),
    SlurmRunner(trials_per_job=2, max_parallel=6),
]


@pytest.mark.parametrize("runner", RUNNERS, ids=repr)
def test_a_runner_comes_back_as_it_was(runner: BaseRunner) -> None:
    text = json.dumps(describe(runner))
    again = make(json.loads(text))
    assert type(again) is type(runner)
    assert json.dumps(describe(again)) == text
    assert (again.max_parallel, again.pack, again.asked) == (runner.max_parallel, runner.pack, runner.asked)


def test_the_arguments_are_those_that_were_given_to_the_outermost_class() -> None:
    assert describe(LocalRunner(3)) == {"class": "LocalRunner", "arguments": {"max_parallel": 3}}


class Own(BaseRunner):
    """Runs nothing, and remembers no arguments."""

    def __init__(self, place: str) -> None:
        self.place = place

    def submit(self, batch: Batch) -> Mapping[int, str]:
        return {}

    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        return {}

    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]:
        return {}

    def cancel(self, jobs: Sequence[str]) -> None:
        return None


class Remembering(Own):
    """The same, with a memory."""

    @remembered
    def __init__(self, place: Any) -> None:
        super().__init__(place)


def test_a_runner_of_one_s_own_is_found_among_those_that_are_there() -> None:
    again = make(describe(Remembering("here")))
    assert isinstance(again, Remembering)
    assert again.place == "here"


@pytest.mark.parametrize(
    ("runner", "said"),
    [(Own("here"), "settings.remembered"), (Remembering({1, 2}), "argument place is")],
    ids=["no memory", "no JSON"],
)
def test_what_cannot_be_saved_is_refused_by_name(runner: BaseRunner, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        describe(runner)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"class": "SlumRunner", "arguments": {}}, "Did you mean 'SlurmRunner'"),
        ({"class": "os.system", "arguments": {}}, "There is no runner 'os.system' here"),
        ({"class": "LocalRunner", "arguments": {"parallel": 2}}, "saved arguments"),
        ({"class": "LocalRunner"}, "describes no runner"),
    ],
    ids=["misspelt", "foreign", "other arguments", "no arguments"],
)
def test_what_describes_no_runner_is_refused(description: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(description)
