"""Draw the learning curves of examples/training.py: ``python docs/plot_training.py DIRECTORY PICTURE``.

DIRECTORY is its experiment directory, outputs/training. Takes matplotlib, which nothing else here needs.
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.curves import read_curves
from axsched_hpc.reporting.reading import read_experiment

GOOD, BEST, STOPPED = "#9aa5b1", "#1b6e3c", "#c2410c"


def main(directory: str, picture: str) -> None:
    """Draw it."""
    reading = read_experiment(directory)
    trials, curves = reading.ledger.trials, read_curves(directory)
    completed = [n for n, trial in trials.items() if trial.state is TrialState.COMPLETED]
    best = min(completed, key=lambda n: (trials[n].metrics or {})["loss"][0])
    # The same file for the same run.
    plt.rcParams.update({"svg.hashsalt": "training", "font.size": 9, "svg.fonttype": "none"})
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    labels = {GOOD: "completed", BEST: f"the best, trial {best}", STOPPED: "stopped early"}
    for number, curve in sorted(curves.items(), key=lambda item: item[0] == best):
        stopped = trials[number].state is TrialState.EARLY_STOPPED
        colour = STOPPED if stopped else BEST if number == best else GOOD
        steps, losses = list(curve), [metrics["loss"][0] for metrics in curve.values()]
        axes.plot(steps, losses, color=colour, linewidth=2 if number == best else 1.1)
        axes.plot(
            steps[-1], losses[-1], "x" if stopped else "o", color=colour, markersize=6 if stopped else 4
        )
    for colour, label in labels.items():
        marker = "x" if colour == STOPPED else "o"
        axes.plot([], [], color=colour, marker=marker, markersize=5, label=label)
    longest = max(max(curve) for curve in curves.values())
    run = sum(max(curve) for curve in curves.values())
    spared = 1 - run / (longest * len(curves))
    count = sum(trial.state is TrialState.EARLY_STOPPED for trial in trials.values())
    axes.set_title(
        f"{count} of {len(curves)} trials stopped early, {spared:.0%} of the epochs spared", fontsize=10
    )
    axes.set(xlabel="epoch", ylabel="validation loss", yscale="log", xlim=(0, longest + 1))
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    # The lines fill the axes.
    figure.legend(frameon=False, loc="outside lower center", ncols=len(labels))
    figure.savefig(picture, metadata={"Date": None} if picture.endswith(".svg") else None, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
