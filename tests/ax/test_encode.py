"""The fast ways to and from JSON give exactly what Ax's own give."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ax.api.client import Client
from ax.core.data import Data, DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.storage.json_store.encoder import object_to_json
from ax.storage.json_store.encoders import generator_run_to_dict

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.data import Observed, appended
from axsched_hpc.ax_bridge.encode import Decoder, Encoder, from_json, to_json
from axsched_hpc.ax_bridge.records import Reference, Runs, run_to_json
from axsched_hpc.ax_bridge.trials import instant, observations
from axsched_hpc.core.collector import paused
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError
from axsched_hpc.core.events import TrialAdded
from axsched_hpc.core.states import Verdict
from tests.ax.harness import START, Driver, branin, new_ax_client, new_bridge, new_client


def by_ax(value: Any) -> Any:
    return json.loads(json.dumps(object_to_json(value)))


def run_of(bridge: AxBridge, trial: int) -> GeneratorRun:
    (run,) = bridge.experiment.trials[trial].generator_runs
    return run


def several_objectives(client: Client) -> None:
    client.configure_optimization("-f, -g", outcome_constraints=["h <= 3.5", "h >= -1000"])


def runs(case: str, count: int = 6) -> Driver:
    """Runs of Sobol, then of a model, for one kind of problem; last comes a point of the user's own."""
    client = new_client(parameter_constraints=["x + y <= 20"] if case == "constrained" else None)
    if case == "objectives":
        several_objectives(client)
    source = new_ax_client(status_quo={"x": 0.0, "y": 1.0}) if case == "status quo" else client
    driver = Driver(AxBridge.from_input(source))
    names = ("f", "g", "h") if case == "objectives" else ("f",)
    for _ in range(count):
        (candidate,) = driver.ask()
        value = branin(**candidate.parameters)
        driver.complete(candidate.trial, {name: (value / n, None) for n, name in enumerate(names, 1)})
    last = driver.attach({"x": 0.25, "y": 1}, arm_name="mine")
    driver.fail(last.trial, Verdict.FAIL)
    return driver


@pytest.fixture(scope="module", params=["plain", "constrained", "objectives", "status quo"])
def history(request: pytest.FixtureRequest) -> Iterator[Driver]:
    yield runs(str(request.param))


def test_every_generator_run_is_encoded_as_by_ax(history: Driver) -> None:
    encoder = Encoder()
    kinds = set()
    for trial in history.bridge.experiment.trials:
        run = run_of(history.bridge, trial)
        kinds.add(run._generator_key)
        assert json.dumps(encoder.encode(run)) == json.dumps(by_ax(run))
    assert {"Sobol", "BoTorch", None} <= kinds


def test_whole_trials_strategies_and_configs_are_encoded_as_by_ax(history: Driver) -> None:
    experiment, strategy = history.bridge.experiment, history.bridge.generation_strategy
    objects = [
        *experiment.trials.values(),
        *strategy._nodes,
        *strategy._generator_runs,
        experiment.search_space,
        experiment.optimization_config,
        experiment.status_quo,
        experiment._trial_type_to_runner,
    ]
    for value in objects:
        assert json.dumps(Encoder().encode(value)) == json.dumps(by_ax(value))


def test_a_snapshot_differs_from_axs_own_by_its_data_and_runs_only(history: Driver) -> None:
    ours = json.loads(history.bridge.snapshot_text())
    theirs = json.loads(json.dumps(history.bridge.client._to_json_snapshot()))
    del ours["axsched"]
    for snapshot in (ours, theirs):
        del snapshot["experiment"]["data_by_trial"]
        del snapshot["generation_strategy"]["experiment"]
        del snapshot["generation_strategy"]["generator_runs"]
    assert ours == theirs
    assert list(ours["experiment"]) == list(theirs["experiment"])


def test_every_generator_run_is_decoded_as_by_ax(history: Driver) -> None:
    reference = Reference.of(history.bridge.experiment)
    decoder = Runs(reference)
    for trial in history.bridge.experiment.trials:
        line = json.loads(json.dumps(run_to_json(run_of(history.bridge, trial), reference), allow_nan=False))
        whole = {**line, **{part: reference.json[part] for part in line["inherited"]}}
        del whole["inherited"]
        once, again, ax = decoder.decode(line), decoder.decode(line), from_json(whole)
        # With a tensor of several numbers in it Ax takes no run for equal to another.
        comparable = from_json(whole) == ax
        for run in (once, again):
            assert run == ax or not comparable
            assert json.dumps(by_ax(run)) == json.dumps(by_ax(ax))
            assert list(vars(run)) == list(vars(ax))
        assert once.arms[0] is not again.arms[0]
        if once._generator_kwargs is not None:
            assert once._generator_kwargs is not again._generator_kwargs
            assert once._adapter_kwargs is not again._adapter_kwargs


def test_runs_share_what_they_have_in_common_with_the_definition() -> None:
    driver = runs("plain", 7)
    first, second = (run_of(driver.bridge, trial) for trial in (5, 6))
    assert first._generator_key == second._generator_key == "BoTorch"
    experiment = driver.bridge.experiment
    assert first.search_space is second.search_space
    assert first.search_space == experiment.search_space
    assert first.optimization_config is second.optimization_config
    assert first.optimization_config == experiment.optimization_config
    # What the user does to the experiment later does not reach into the past.
    assert first.search_space is not experiment.search_space


def test_an_upgrade_of_ax_that_renames_what_is_decoded_once_is_noticed() -> None:
    fields = generator_run_to_dict(GeneratorRun(arms=[]))
    assert {"arms", "weights", "generator_kwargs", "adapter_kwargs"} <= fields.keys()
    assert "candidate_metadata_by_arm_signature" in fields
    assert {"gen_metadata", "model_predictions"} <= fields.keys()
    parts = {"_generator_kwargs", "_adapter_kwargs", "_gen_metadata", "_model_predictions"}
    assert parts <= vars(GeneratorRun(arms=[])).keys()


@pytest.mark.parametrize(
    "value",
    [
        {"a": (1, [2.5, None]), 3: {True: "x", None: 1e-300}, 0.5: ()},
        {1: "number", "1": "text"},
        [float("nan"), float("-inf"), -0.0, 10**30],
        {"when": instant(1.5e9 + 1e-6), "then": instant(-5e10)},
        "\ud800",
    ],
)
def test_plain_values_are_encoded_as_by_ax(value: Any) -> None:
    assert json.dumps(Encoder().encode(value)) == json.dumps(by_ax(value))


def test_numbers_that_json_lacks_come_back() -> None:
    value = {"a": [float("inf"), 1.5, {"b": float("nan")}], "c": float("-inf")}
    back = from_json(json.loads(json.dumps(to_json(value), allow_nan=False)))
    assert back["a"][:2] == [float("inf"), 1.5]
    assert math.isnan(back["a"][2]["b"])
    assert back["c"] == float("-inf")
    assert str(Decoder().decode(to_json(value))) == str(value)


def test_objects_are_decoded_once_and_plain_values_anew() -> None:
    value = {"weights": torch.tensor([[1.0, 0.5]]), "null": [1, None, "text", {"a": True}]}
    encoded, decoder = to_json(value), Decoder()
    first, second = decoder.decode(encoded), decoder.decode(encoded)
    assert encoded == to_json(value)
    assert str(first) == str(from_json(encoded)) == str(second)
    assert first["weights"] is second["weights"]
    assert first[None] is not second[None]


@pytest.mark.parametrize(
    "value", [object(), {"a": [object()]}, {(1, 2): 3}, {"a": {1.5, 2}, "b": {object()}}]
)
def test_what_ax_cannot_save_is_an_error(value: Any) -> None:
    with pytest.raises(ConfigError, match="Ax cannot save a part of this experiment"):
        to_json(value)


def test_the_garbage_collector_is_put_off_and_comes_back() -> None:
    with paused():
        assert not gc.isenabled()
        with paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    bridge = new_bridge("ax.Client")
    with pytest.raises(ExperimentMismatchError):
        bridge.replay([TrialAdded(START, 0, "0_0", {"x": 99.0}, "ax")])
    assert gc.isenabled()


# ------------------------------------------------------------ data


def rows_of(experiment: Experiment) -> list[str]:
    # As text, since NaN is not equal to itself.
    return [str(vars(row)) for row in experiment.data._data_rows]


def test_rows_are_appended_as_ax_would_attach_them() -> None:
    ours, theirs = new_bridge("ax.Client").experiment, new_bridge("ax.Client").experiment
    observed = Observed(ours)
    for n in range(4):
        for experiment in (ours, theirs):
            experiment.attach_trial([{"x": float(n), "y": 1.0}])
        new = observations(ours, ours.trials[n], {"f": (0.5 * n, None), "seconds": (1.0, 0.1)})
        before = ours.data
        observed.attach(new)
        theirs.attach_data(Data(data_rows=new))
        assert len(before._data_rows) == 2 * n
        assert list(observed.of(n)) == new
        assert ours.data == theirs.data
        assert rows_of(ours) == rows_of(theirs)
        assert vars(ours.data).keys() == vars(theirs.data).keys()
        assert ours.lookup_data().full_df.equals(theirs.lookup_data().full_df)


def test_a_second_observation_of_a_trial_replaces_the_first() -> None:
    bridge = new_bridge("ax.Client")
    candidate = bridge.attach({"x": 1.0, "y": 1.0}, time=START)
    bridge.client.attach_data(candidate.trial, {"f": 3.0, "memory": 1.0})
    bridge.complete([(candidate.trial, {"f": (2.0, None)}, START)])
    bridge.complete([(candidate.trial, {"f": (2.0, None)}, START)])
    frame = bridge.experiment.data.full_df.set_index("metric_name")["mean"]
    assert frame.to_dict() == {"f": 2.0, "memory": 1.0}


def test_what_others_attach_is_seen() -> None:
    bridge = new_bridge("ax.Client")
    observed = Observed(bridge.experiment)
    for _ in range(3):
        bridge.experiment.attach_trial([{"x": 1.0, "y": 1.0}])
    assert list(observed.of(0)) == []
    bridge.client.complete_trial(0, {"f": 1.0})
    assert [row.mean for row in observed.of(0)] == [1.0]
    observed.attach(observations(bridge.experiment, bridge.experiment.trials[1], {"f": (2.0, None)}))
    bridge.client.complete_trial(2, {"f": 3.0})
    assert [[row.mean for row in observed.of(trial)] for trial in range(3)] == [[1.0], [2.0], [3.0]]


def test_appended_data_have_all_that_data_made_by_ax_have() -> None:
    def row(trial: int, step: float | None) -> DataRow:
        return DataRow(trial, f"{trial}_0", "f", "f", 1.0, 0.1, step=step)

    for steps in ([None, None], [1.0, None], [None, 2.0]):
        first, second = (row(trial, step) for trial, step in enumerate(steps))
        ours, theirs = appended(Data([first]), [second]), Data([first, second])
        assert vars(ours) == vars(theirs)
