"""Experiments with the plugin in a database, as Ax keeps them there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ax.api.client import Client

from axsched_hpc import ConfigError, LocalRunner
from axsched_hpc.ax_plugin import FileMetric, bring_back, registry_bundle, storage_config
from tests import scripts
from tests.ax_plugin.kit import client, executions, losses, prepared, process_environment, run, statuses

GO_ON = """
import sys
from ax.api.client import Client
from axsched_hpc.ax_plugin import storage_config
from tests.ax_plugin.kit import losses, run, statuses

made = Client.load_from_database("bowl", storage_config=storage_config(url=sys.argv[1]))
from ax.api.utils.storage import db_settings_from_storage_config
run(made, 2, db_settings=db_settings_from_storage_config(made._storage_config))
print(sorted(statuses(made).items()), made._experiment.metrics["loss"].lower_is_better)
made._experiment.runner.close()
again = Client.load_from_database("bowl", storage_config=storage_config(url=sys.argv[1]))
print(statuses(again) == statuses(made), sorted(losses(again)))
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    """An empty database with Ax's tables."""
    from ax.storage.sqa_store.db import create_all_tables, get_engine, init_engine_and_session_factory

    url = f"sqlite:///{tmp_path}/ax.db"
    init_engine_and_session_factory(url=url, force_init=True)
    create_all_tables(get_engine())
    return url


def test_saved_at_each_step_loaded_in_a_new_process_and_gone_on_with(database: str, tmp_path: Path) -> None:
    made = client(storage=storage_config(url=database))
    prepared(tmp_path / "run", LocalRunner(2), made=made, lower_is_better=True)
    run(made, 1, db_settings=settings(made))
    made._experiment.runner.close()
    (tmp_path / "go_on.py").write_text(GO_ON)
    done = scripts.run(tmp_path / "go_on.py", [database], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[('COMPLETED', 3)] True", "True [0, 1, 2]"]
    assert executions(tmp_path / "run") == dict.fromkeys(range(3), 1)
    assert statuses(made) == {"COMPLETED": 1}


def test_trials_that_are_brought_back_are_in_the_database_too(database: str, tmp_path: Path) -> None:
    storage = storage_config(url=database)
    made = client(storage=storage)
    prepared(tmp_path / "run", LocalRunner(2), made=made)
    run(made, 1, db_settings=settings(made))
    run(made, 2)  # as where Ax was killed before it could save

    def loaded() -> Any:
        return Client.load_from_database("bowl", storage_config=storage)

    again = loaded()
    assert statuses(again) == {"COMPLETED": 1}
    assert bring_back(again) == [1, 2]
    assert statuses(loaded()) == {"COMPLETED": 1, "RUNNING": 2}
    run(again, 1, db_settings=settings(again))
    last = loaded()
    assert statuses(last) == {"COMPLETED": 4}
    assert losses(last) == pytest.approx(losses(again))
    assert len(last._generation_strategy._generator_runs) == 4
    assert executions(tmp_path / "run") == dict.fromkeys(range(4), 1)


def settings(made: Any) -> Any:
    from ax.api.utils.storage import db_settings_from_storage_config

    return db_settings_from_storage_config(made._storage_config)


def test_a_bundle_has_the_metrics_of_ax_too() -> None:
    from ax.core.map_metric import MapMetric

    bundle = registry_bundle()
    assert {FileMetric, MapMetric} <= set(bundle.metric_registry)


@pytest.mark.parametrize("given", [{}, {"url": "sqlite://", "creator": print}], ids=["neither", "both"])
def test_one_way_to_the_database_is_needed(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a url or a creator"):
        storage_config(**given)


def test_without_sqlalchemy_json_still_works_and_a_database_says_what_is_missing(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from pathlib import Path\n"
        "from ax.api.client import Client\n"
        "from axsched_hpc import LocalRunner\n"
        "from axsched_hpc.ax_plugin import storage_config\n"
        "from tests.ax_plugin.kit import prepared\n"
        "folder = Path(sys.argv[1])\n"
        "prepared(folder / 'run', LocalRunner(2)).save_to_json_file(str(folder / 'saved.json'))\n"
        "print(Client.load_from_json_file(str(folder / 'saved.json'))._experiment.runner)\n"
        "try:\n    storage_config(url='sqlite://')\n"
        "except Exception as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=process_environment(),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "SubmititAxRunner" in lines[0]
    assert "pip install 'axsched-hpc[sql]'" in lines[1]
