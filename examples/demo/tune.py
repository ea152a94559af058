"""The demo: tune a scikit-learn model on this machine. `make demo` runs it.

Twenty trials, two at a time: six spread over the space, then those that Ax's Gaussian process suggests. Stop
it whenever you like and start it again: it goes on where it was. Once it has ended, the next start is a new
run.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axsched_hpc import AxScheduler, LocalRunner

if TYPE_CHECKING:
    from ax import Client

HERE = Path(__file__).resolve().parent
TRIALS, SPREAD_TRIALS = 20, 6
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # trials side by side must not fight for the cores


def main() -> None:
    """Tune, and say what came out."""
    directory = run_directory(HERE / "outputs")
    if directory.exists():
        print("Going on where the last run was stopped.")
    print(f"Tuning a classifier of breast tumours: {TRIALS} trials, two at a time, in\n  {shown(directory)}")
    sys.stdout.flush()  # where it is no terminal, too: Ax takes some seconds to load
    show_progress()

    config = {"job_output_dir": directory, "synchronous": False}
    with AxScheduler(experiment(), LocalRunner(max_parallel=2), config) as scheduler:
        scheduler.set_script_objective(HERE / "train.py", {"environment": ONE_THREAD})
        best = scheduler.run_optimization(max_trials=TRIALS)
        lines = [f"\nBest of {TRIALS} trials: trial {scheduler.result.best_trial}"]

    lines += [f"  {name} = {value:.4g}" for name, value in best.items()]
    lines += comparison(best) + where_to_look(directory)
    print("\n".join(lines))
    (directory / "report.txt").write_text("\n".join(lines).lstrip() + "\n")


def experiment() -> Client:
    """What is tuned, within which bounds, and for what."""
    from ax import Client, RangeParameterConfig  # takes some seconds: not before the first line is printed

    logging.getLogger("ax.api.client").setLevel(logging.WARNING)  # it logs what it was told
    client = Client(random_seed=2)
    client.configure_experiment(
        name="breast_tumours",
        parameters=[
            RangeParameterConfig(
                name="learning_rate", parameter_type="float", bounds=(0.01, 0.5), scaling="log"
            ),
            RangeParameterConfig(name="max_leaf_nodes", parameter_type="int", bounds=(2, 40)),
            RangeParameterConfig(name="max_features", parameter_type="float", bounds=(0.1, 1.0)),
            RangeParameterConfig(
                name="l2_regularization", parameter_type="float", bounds=(0.001, 100.0), scaling="log"
            ),
        ],
    )
    client.configure_optimization(objective="-log_loss")  # the minus sign: lower is better
    client.configure_generation_strategy(initialization_budget=SPREAD_TRIALS)
    return client


def run_directory(outputs: Path) -> Path:
    """The last run's directory where that run was stopped before its end, else a new one."""
    runs = len(list(outputs.glob("run-*")))
    last = outputs / f"run-{runs}"
    return last if runs and not (last / "report.txt").exists() else outputs / f"run-{runs + 1}"


def show_progress() -> None:
    """On a terminal the library shows a live bar by itself; elsewhere one log line per change."""
    if not sys.stderr.isatty():
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def comparison(best: dict[str, Any]) -> list[str]:
    """Both models on splits that the tuning has not seen: on its own, the best of many looks too good."""
    (default, default_sem), (tuned, tuned_sem) = evaluate({}), evaluate(best)
    return [
        "\nLog loss on data splits that the tuning has not seen (lower is better):",
        f"  {default:.4f} +/- {default_sem:.4f}  scikit-learn's defaults",
        f"  {tuned:.4f} +/- {tuned_sem:.4f}  tuned: {1 - tuned / default:.0%} lower",
    ]


def evaluate(parameters: dict[str, Any]) -> tuple[float, float]:
    """Mean and standard error of the log loss, by the trials' own script but on other splits."""
    with tempfile.TemporaryDirectory() as scratch:
        files = {
            "AXSCHED_PARAMETERS_FILE": str(Path(scratch, "parameters.json")),
            "AXSCHED_METRICS_FILE": str(Path(scratch, "metrics.json")),
        }
        Path(files["AXSCHED_PARAMETERS_FILE"]).write_text(json.dumps(parameters))
        environment = {**os.environ, **ONE_THREAD, **files, "SPLITS": "1"}
        subprocess.run([sys.executable, HERE / "train.py"], env=environment, check=True)
        mean, sem = json.loads(Path(files["AXSCHED_METRICS_FILE"]).read_text())["log_loss"]
    return mean, sem


def where_to_look(directory: Path) -> list[str]:
    """Where everything lies, and the commands that read it."""
    command = shown(Path(sys.executable).with_name("axsched"))
    return [
        f"\nParameters, metrics and the record of all trials: {shown(directory)}",
        "To look further:",
        f"  {command} status {shown(directory)}",
        f"  {command} best {shown(directory)}",
    ]


def shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # the library has said how to go on
