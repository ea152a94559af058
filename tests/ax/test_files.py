"""The forms of a saved optimisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ax.api.client import Client
from ax.storage.json_store.save import save_experiment

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.files import read_any
from axsched_hpc.core.errors import ConfigError
from tests.ax.harness import START, Driver, new_ax_client, new_bridge, new_client


def test_plain_ax_opens_our_snapshot(kind: str, tmp_path: Path) -> None:
    driver = Driver(new_bridge(kind))
    driver.run(2)
    driver.attach({"x": 0.5, "y": 0.5})
    driver.complete(2, {"f": (1e-13, None), "seconds": (0.1 + 0.2, 0.25)})
    driver.ask()
    path = tmp_path / "experiment.json"
    path.write_text(driver.bridge.snapshot_text())
    client = Client.load_from_json_file(str(path))
    assert client._experiment == driver.bridge.experiment
    means = [e.data.full_df["mean"].tolist() for e in (client._experiment, driver.bridge.experiment)]
    assert means[0] == pytest.approx(means[1], rel=1e-14)
    client._random_seed = 3
    ((_, parameters),) = client.get_next_trials(1).items()
    assert parameters == driver.ask()[0].parameters


def test_our_snapshot_keeps_the_seed_and_the_next_point(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    driver.run(6)
    loaded = read_any(driver.bridge.snapshot_text(), "experiment.json")
    assert loaded.kind == "ax.Client snapshot"
    assert loaded.handles.seed == 3
    assert loaded.handles.experiment == driver.bridge.experiment
    again = AxBridge(loaded.handles).ask(1, time=START).candidates[0].parameters
    assert again == pytest.approx(driver.ask()[0].parameters, abs=1e-6)


def test_ax_own_files_are_told_apart(tmp_path: Path) -> None:
    client, ax_client, path = new_client(), new_ax_client(), tmp_path / "file.json"
    client.get_next_trials(1)
    ax_client.get_next_trial()
    client.save_to_json_file(str(path))
    assert read_any(path.read_text(), "file.json").kind == "ax.Client snapshot"
    ax_client.save_to_json_file(str(path))
    loaded = read_any(path.read_text(), "file.json", seed=3)
    assert (loaded.kind, loaded.handles.seed) == ("AxClient snapshot", 3)
    assert loaded.handles.experiment == ax_client.experiment
    assert AxBridge(loaded.handles).ask(1, time=1.0).candidates[0].parameters == ax_client.get_next_trial()[0]
    save_experiment(client._experiment, str(path))
    loaded = read_any(path.read_text(), "file.json")
    assert (loaded.kind, loaded.handles.experiment) == ("Experiment", client._experiment)


def test_a_client_saved_before_it_had_a_strategy_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    new_client().save_to_json_file(str(path))
    bridge = AxBridge.from_text(path.read_text(), "file.json", seed=3)
    assert Driver(bridge).run(2) == Driver(new_bridge("ax.Client")).run(2)


def test_a_seed_that_differs_from_the_files_is_refused() -> None:
    text = new_bridge("ax.Client").snapshot_text()
    assert read_any(text, "experiment.json", seed=3).handles.seed == 3
    with pytest.raises(ConfigError, match=r"The seed in experiment\.json is 3, the config's seed 4"):
        read_any(text, "experiment.json", seed=4)


def changed(**changes: Any) -> str:
    """A snapshot with other members, and without ours unless they are among the changes."""
    content = json.loads(AxBridge.from_input(new_client()).snapshot_text())
    del content["axsched"]
    return json.dumps({**content, **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"old\.json is empty"),
        ('{"experiment": {', r"old\.json is not complete JSON .*cut off"),
        ("[1, 2]", r"old\.json holds a list, which is no ax\.Client snapshot"),
        ('{"loss": 0.5}', r"old\.json holds a JSON object with the keys 'loss', which is no"),
        ('{"__type": "Arm", "parameters": {}}', r"old\.json holds a Arm"),
        (
            '{"__type": "Experiment"}',
            r"looks like an Experiment, but the installed Ax cannot decode it: KeyError",
        ),
        (changed(experiment={"__type": "Unknown"}), "but the installed Ax cannot decode it"),
        (changed(axsched={"format": 3}), r"newer version of axsched-hpc \(format 3, this one knows 2\)"),
        (changed(axsched={"format": 2, "seed": 3}), r"was changed after .* its checksum does not fit"),
        (changed(axsched=[1]), "its checksum does not fit"),
        (changed(axsche={"format": 2, "seed": 3}), "its checksum does not fit"),
        ("[" * 100_000 + "]" * 100_000, r"old\.json is no JSON that can be read"),
        ("1" * 5_000, r"old\.json is no JSON that can be read"),
    ],
)
def test_anything_else_is_refused_with_what_was_found(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_any(text, "old.json")


def test_a_snapshot_whose_values_changed_is_refused_however_it_is_laid_out() -> None:
    driver = Driver(new_bridge("ax.Client"))
    driver.run(1)
    content = json.loads(driver.bridge.snapshot_text())
    assert read_any(json.dumps(content, indent=2) + "\n", "experiment.json").handles.seed == 3
    content["experiment"]["trials"]["0"]["time_completed"]["value"] = "2023-11-14 22:13:41.000000"
    message = r"experiment\.json was changed after axsched-hpc wrote it: its checksum does not fit"
    with pytest.raises(ConfigError, match=message):
        read_any(json.dumps(content), "experiment.json")
    del content["axsched"]
    assert read_any(json.dumps(content), "experiment.json").handles.seed is None


def test_a_snapshot_has_every_digit_of_the_data() -> None:
    driver = Driver(new_bridge("ax.Client"))
    values = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -12345.678901234567, 2.0]
    for value in values:
        candidate = driver.attach({"x": 0.5, "y": 1.5})
        driver.complete(candidate.trial, {"f": (value, value if value > 0 else None)})
    loaded = read_any(driver.bridge.snapshot_text(), "experiment.json").handles.experiment
    assert loaded.data.full_df["mean"].tolist() == values
    assert driver.bridge.experiment.data.full_df.equals(loaded.data.full_df)


def damaged(path: tuple[str, ...], value: Any) -> str:
    """A file of Ax's own, without a checksum, with one value in place of another."""
    driver = Driver(new_bridge("ax.Client"))
    driver.run(1)
    content = json.loads(driver.bridge.snapshot_text())
    del content["axsched"]
    there = content["experiment"]
    for key in path[:-1]:
        there = there[int(key) if isinstance(there, list) else key]
    there[path[-1]] = value
    return json.dumps(content)


ARM = ("trials", "0", "generator_run", "arms", "0", "parameters")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*ARM, "x"), float("nan"), "parameter 'x' of trial 0 is nan"),
        ((*ARM, "x"), "much", "ValueError"),
        ((*ARM, "x"), [1.0], "cannot decode it"),
        (
            ("search_space", "parameters", "0", "lower"),
            float("nan"),
            r"the bounds of parameter 'x' are",
        ),
        (("search_space", "parameters", "0", "upper"), "many", "cannot decode it"),
        (("trials", "0", "index"), 4, "cannot decode it"),
        (("trials", "first"), {"__type": "Trial"}, "cannot decode it"),
        (("trials", "0", "time_created"), "yesterday", "time_created of trial 0 is 'yesterday'"),
        (("trials", "0", "num_arms_created"), True, "num_arms_created of trial 0 is True"),
        (("trials", "0", "run_metadata"), [1], r"run_metadata of trial 0 is \[1\]"),
        (("trials",), {}, "an observation of trial 0, which is not there"),
        (("time_created",), None, "time_created of the experiment is None"),
        (("name",), 5, "name of the experiment is 5"),
        (("search_space", "parameters", "0", "name"), 5, "cannot decode it"),
        (("tracking_metrics", "0", "name"), 5, "cannot decode it"),
        (
            ("search_space", "parameters", "1", "name"),
            {"__type": "ParameterType", "name": "FLOAT"},
            "name of a parameter is",
        ),
        (("data_by_trial",), [], "cannot decode it"),
    ],
)
def test_a_wrong_value_in_a_file_of_ax_is_named(path: tuple[str, ...], value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_any(damaged(path, value), "file.json")


@pytest.mark.parametrize("mean", ['"high"', "[1]", "{}"])
def test_a_wrong_observation_in_a_file_of_ax_is_an_error(mean: str) -> None:
    content = json.loads(damaged(("name",), "branin"))
    frame = content["experiment"]["data_by_trial"]["0"]["value"][0][1]["df"]
    columns = json.loads(frame["value"])
    columns["mean"]["0"] = json.loads(mean)
    frame["value"] = json.dumps(columns)
    with pytest.raises(ConfigError, match=r"file\.json looks like an ax\.Client snapshot"):
        read_any(json.dumps(content), "file.json")
