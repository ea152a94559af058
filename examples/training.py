"""Train a neural network, with a learning curve; trials that fall behind are stopped. With --slurm as jobs.

Each trial reports its validation loss after every epoch. By these curves Ax compares it with what the others
had reached at the same epoch, and what is worse than half of them is not trained any further.
"""

import logging
import sys

from ax import Client, RangeParameterConfig
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

EPOCHS = 40


def train(parameters):
    """Tells handwritten digits apart. Put your training here."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    from axsched_hpc import report

    images, digits = load_digits(return_X_y=True)
    images, held_out, digits, truth = train_test_split(images / 16, digits, random_state=0, stratify=digits)
    # Each image four times more, shifted by a pixel to each side.
    square = images.reshape(-1, 8, 8)
    shifted = [np.roll(square, by, axis).reshape(-1, 64) for axis in (1, 2) for by in (-1, 1)]
    images, digits = np.concatenate([images, *shifted]), np.tile(digits, 5)

    model = MLPClassifier(
        [parameters["units"]],
        alpha=parameters["decay"],
        learning_rate_init=parameters["rate"],
        batch_size=32,
        random_state=0,
    )
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(images, digits, classes=range(10))
        loss = log_loss(truth, model.predict_proba(held_out))
        report(epoch, loss=loss)
    return {"loss": loss}


client = Client(random_seed=1)
client.configure_experiment(
    name="digits",
    parameters=[
        RangeParameterConfig(name="rate", parameter_type="float", bounds=(1e-4, 0.3), scaling="log"),
        RangeParameterConfig(name="decay", parameter_type="float", bounds=(1e-6, 1.0), scaling="log"),
        RangeParameterConfig(name="units", parameter_type="int", bounds=(8, 64)),
    ],
)
client.configure_optimization(objective="-loss")  # the minus sign: lower is better

slurm = "--slurm" in sys.argv
runner = SlurmRunner(memory="1G", max_parallel=2) if slurm else LocalRunner(max_parallel=2)
config = {
    "job_output_dir": "outputs/training",
    "monitoring_interval": 1,  # seconds between two looks at the curves
    "synchronous": False,
    "early_stopping": PercentileEarlyStoppingStrategy(min_curves=2, min_progression=5),
}

scheduler = AxScheduler(client, runner, config)
scheduler.set_objective_function(train)
best = scheduler.run_optimization(max_trials=6)
print(f"best: {best}, loss {scheduler.result.best_values['loss'][0]:.4g}")

epochs = scheduler.experiment.data.full_df.groupby("trial_index")["step"].max()
print(
    f"{len(scheduler.result.stopped_early)} of {len(epochs)} trials were stopped early: "
    f"{EPOCHS * len(epochs) - epochs.sum():.0f} of {EPOCHS * len(epochs)} epochs were not run."
)
