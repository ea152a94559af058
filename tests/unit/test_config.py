"""The scheduler's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.policy import RetryPolicy


def test_defaults_are_those_of_the_interface() -> None:
    config = SchedulerConfig.from_dict(None)
    assert config == SchedulerConfig()
    assert config.monitoring_interval == 10
    assert config.job_output_dir == "./outputs"
    assert config.synchronous is True
    assert config.cleanup_after_completion is True
    assert config.poll_interval == 1
    assert config.permissions == "private"
    assert config.retries == RetryPolicy(infrastructure=3, resource=0, objective=0)


def test_values_are_taken(tmp_path: Path) -> None:
    config = SchedulerConfig.from_dict(
        {"job_output_dir": tmp_path, "retries": {"objective": 2}, "max_failures": None, "seed": 3}
    )
    assert config.job_output_dir == str(tmp_path)
    assert config.retries == RetryPolicy(infrastructure=3, resource=0, objective=2)
    assert config.seed == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitoring_intervall": 5}, "Did you mean 'monitoring_interval'?"),
        ({"zzz": 5}, "Unknown config key 'zzz'. Known: arms_per_trial"),
        ({"monitoring_interval": "5"}, "config['monitoring_interval'] is '5' (str), but takes a number"),
        ({"monitoring_interval": 0}, "at least 0.1"),
        ({"monitoring_interval": True}, "(bool)"),
        ({"poll_interval": float("nan")}, "config['poll_interval'] is nan"),
        ({"synchronous": 1}, "config['synchronous'] is 1 (int), but takes True or False"),
        ({"job_output_dir": ""}, "the path of a directory"),
        ({"job_output_dir": 3}, "the path of a directory"),
        ({"resume": "Auto"}, "'auto' or 'never' or 'must'"),
        ({"failure_rate": 1.5}, "a number from 0 to 1"),
        ({"max_failures": -1}, "a whole number, 0 or more"),
        ({"retries": 3}, "takes a dict such as"),
        ({"retries": {"infrastructur": 3}}, "Did you mean 'infrastructure'?"),
        ({"retries": {"resource": 1.5}}, "config['retries']['resource'] is 1.5"),
        ({"seed": "1"}, "config['seed'] is '1'"),
        ({"permissions": "all"}, "config['permissions'] is 'all' (str), but takes 'private' or 'group'"),
        ({"permissions": 0o750}, "'private' or 'group'"),
        ({"prefetch": -1}, "config['prefetch'] is -1 (int), but takes a whole number, 0 or more"),
    ],
)
def test_bad_options_name_key_value_and_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SchedulerConfig.from_dict(options)
    assert message in str(caught.value)


def test_something_else_than_a_dict() -> None:
    with pytest.raises(ConfigError, match="takes a dict of options, not list"):
        SchedulerConfig.from_dict([("seed", 1)])  # type: ignore[arg-type]
