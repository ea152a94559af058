"""The demo's objective: how well a gradient boosting classifier tells benign from malignant tumours.

Reads the model's parameters from the file named by AXSCHED_PARAMETERS_FILE, and writes the cross-validated
log loss (lower is better) to the one named by AXSCHED_METRICS_FILE. It knows nothing of Ax or Slurm, and runs
by itself just as well:

    echo '{"learning_rate": 0.2}' > p.json
    AXSCHED_PARAMETERS_FILE=p.json AXSCHED_METRICS_FILE=m.json python examples/demo/train.py
"""

import json
import os
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score

parameters = json.loads(Path(os.environ["AXSCHED_PARAMETERS_FILE"]).read_text())

features, benign = load_breast_cancer(return_X_y=True)
model = HistGradientBoostingClassifier(**parameters, random_state=0)
# The same splits of the data in every trial, four times five: trials differ by their parameters alone.
splits = RepeatedStratifiedKFold(n_splits=5, n_repeats=4, random_state=int(os.environ.get("SPLITS", "0")))
losses = -cross_val_score(model, features, benign, cv=splits, scoring="neg_log_loss")

# The mean over all splits, and how uncertain it is: its standard error, from the four repetitions.
repetitions = losses.reshape(4, 5).mean(axis=1)
metrics = {"log_loss": [repetitions.mean(), repetitions.std(ddof=1) / 2]}
Path(os.environ["AXSCHED_METRICS_FILE"]).write_text(json.dumps(metrics))
