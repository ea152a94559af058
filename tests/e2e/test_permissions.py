"""Who may read and write what a whole run leaves, whatever the umask of the user's shell."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from axsched_hpc import AxScheduler
from axsched_hpc.io.access import DIRECTORY_MODES
from tests.e2e.kit import bowl, client, runner


@pytest.fixture(params=[0, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("permissions", ["private", "group"])
def test_every_file_has_the_mode_that_was_asked_for(tmp_path: Path, permissions: str) -> None:
    root = tmp_path / "run"
    options = {
        "job_output_dir": root,
        "monitoring_interval": 1,
        "cleanup_after_completion": False,
        "permissions": permissions,
    }
    with AxScheduler(client(initial=2), runner("local", 2), options) as scheduler:
        scheduler.set_objective_function(bowl)
        scheduler.run_optimization(max_trials=2)
        scheduler.save_experiment(root / "copy.json")
    walked = [root, *root.rglob("*")]
    assert {path.name for path in walked} > {
        "00001.jsonl",
        "experiment.json",
        "definition.json",
        "driver.lock",
    }
    directory = DIRECTORY_MODES[permissions]
    # Nobody else has anything to do with locks.
    locks = [path for path in walked if path.name.endswith(".lock")]
    assert {stat.S_IMODE(path.lstat().st_mode) for path in locks} == {0o600}
    walked = [path for path in walked if path not in locks]
    found = {path: oct(stat.S_IMODE(path.lstat().st_mode)) for path in walked}
    assert found == {path: oct(directory if path.is_dir() else directory & 0o666) for path in walked}
