"""The demo's parts; `make demo` as a whole takes about a minute and is run by its users."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path
from types import ModuleType

import pytest

from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples/demo"


@pytest.fixture(scope="module")
def tune() -> ModuleType:
    """examples/demo/tune.py as a module."""
    spec = importlib.util.spec_from_file_location("demo_tune", DEMO / "tune.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _losses(tmp_path: Path, parameters: dict[str, float], patch: pytest.MonkeyPatch) -> list[float]:
    (tmp_path / "p.json").write_text(json.dumps(parameters))
    patch.setenv("SPLITS", "1")
    patch.setenv("AXSCHED_PARAMETERS_FILE", str(tmp_path / "p.json"))
    patch.setenv("AXSCHED_METRICS_FILE", str(tmp_path / "m.json"))
    # In this process, where scikit-learn is imported once.
    runpy.run_path(str(DEMO / "train.py"))
    found: list[float] = json.loads((tmp_path / "m.json").read_text())["log_loss"]
    return found


def test_the_objective_is_the_same_each_time_and_better_than_by_default_where_the_demo_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = {"learning_rate": 0.095, "max_leaf_nodes": 28, "max_features": 0.1, "l2_regularization": 0.41}
    short = {**tuned, "max_iter": 5}
    assert _losses(tmp_path, short, monkeypatch) == _losses(tmp_path, short, monkeypatch)
    mean, sem = _losses(tmp_path, tuned, monkeypatch)
    default, _ = _losses(tmp_path, {}, monkeypatch)
    assert 0 < sem < mean
    assert mean < 0.85 * default


def test_all_parameters_of_the_demo_are_the_model_s(tune: ModuleType) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    names = set(tune.experiment()._experiment.search_space.parameters)
    assert names <= set(HistGradientBoostingClassifier().get_params())


def test_a_run_that_was_stopped_is_gone_on_with_and_one_that_has_ended_is_not(
    tune: ModuleType, tmp_path: Path
) -> None:
    assert tune.run_directory(tmp_path) == tmp_path / "run-1"
    (tmp_path / "run-1").mkdir()
    assert tune.run_directory(tmp_path) == tmp_path / "run-1"
    (tmp_path / "run-1/report.txt").touch()
    assert tune.run_directory(tmp_path) == tmp_path / "run-2"


@pytest.mark.timeout(180)
def test_a_short_demo_prints_what_it_promises(
    tune: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "TRIALS", 2)
    monkeypatch.setattr(tune, "HERE", tmp_path)
    source = (DEMO / "train.py").read_text()
    shorter = source.replace("random_state=0)", "random_state=0, max_iter=2)", 1)
    assert shorter != source
    (tmp_path / "train.py").write_text(shorter)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    tune.main()
    printed = capfd.readouterr().out
    run = tmp_path / "outputs/run-1"
    assert +read_experiment(run).ledger.counts == {TrialState.COMPLETED: 2}
    report = (run / "report.txt").read_text()
    assert report in printed
    assert report.startswith("Best of 2 trials: trial ")
    assert "scikit-learn's defaults" in report
    assert f"axsched status {run}\n" in report
    assert f"axsched best {run}\n" in report
