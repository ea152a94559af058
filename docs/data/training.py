"""A training run on Slurm whose journal docs/data/training keeps."""

import logging
import sys

from ax import ChoiceParameterConfig, Client, RangeParameterConfig
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy

from axsched_hpc import AxScheduler, SlurmRunner

logging.basicConfig(format="%(asctime)s %(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)
EPOCHS = 30


def train(parameters):
    import math
    import time
    import warnings

    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    from axsched_hpc import report

    warnings.simplefilter("ignore")
    images, digits = load_digits(return_X_y=True)
    images, held_out, digits, truth = train_test_split(images / 16, digits, random_state=0, stratify=digits)
    model = MLPClassifier(
        [parameters["units"]],
        activation=parameters["activation"],
        alpha=parameters["decay"],
        learning_rate_init=parameters["rate"],
        solver="sgd",
        batch_size=32,
        random_state=0,
    )
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(images, digits, classes=range(10))
        loss = log_loss(truth, model.predict_proba(held_out))
        if not math.isfinite(loss) or loss > 3:
            raise FloatingPointError(f"the loss is {loss:.3g} after epoch {epoch}: the training diverges")
        report(epoch, loss=loss)
        time.sleep(0.1 + parameters["units"] / 400)
    return {"loss": loss, "accuracy": float(model.score(held_out, truth))}


client = Client(random_seed=5)
client.configure_experiment(
    name="digits",
    parameters=[
        RangeParameterConfig(name="rate", parameter_type="float", bounds=(1e-3, 0.3), scaling="log"),
        RangeParameterConfig(name="decay", parameter_type="float", bounds=(1e-6, 1.0), scaling="log"),
        RangeParameterConfig(name="units", parameter_type="int", bounds=(8, 64)),
        ChoiceParameterConfig(
            name="activation", parameter_type="str", values=["relu", "tanh", "logistic"], is_ordered=False
        ),
    ],
)
client.configure_optimization(objective="-loss", outcome_constraints=["accuracy >= 0.9"])
runner = SlurmRunner(
    memory="600M",
    partition="low",
    max_parallel=5,
    time_limit=1,
    cpus_per_task=3,
    config={"environment": {"OMP_NUM_THREADS": "1"}},
)
scheduler = AxScheduler(
    client,
    runner,
    {
        "job_output_dir": "outputs/training",
        "monitoring_interval": 1,
        "synchronous": False,
        "early_stopping": PercentileEarlyStoppingStrategy(
            metric_signatures=["loss"], min_curves=4, min_progression=8, percentile_threshold=40.0
        ),
    },
)
scheduler.set_objective_function(train)
scheduler.run_optimization(max_trials=int(sys.argv[1]))
