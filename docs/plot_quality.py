"""Draw what benchmarks/quality.py has found: ``python docs/plot_quality.py JSON PICTURE``.

JSON is what it wrote with ``--json``. Takes matplotlib, which nothing else here needs.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

WAYS = {
    "rounds": ("#c2410c", "Ax in rounds of 8"),
    "orchestrator": ("#64748b", "Ax's Orchestrator"),
    "ours": ("#1b6e3c", "axsched-hpc, asynchronous"),
}


def main(source: str, picture: str) -> None:
    """Draw it."""
    problems = json.loads(Path(source).read_text())["progress"]
    # The same file for the same figures.
    plt.rcParams.update({"svg.hashsalt": "quality", "font.size": 9, "svg.fonttype": "none"})
    figure, grid = plt.subplots(2, 2, figsize=(7.4, 5.4), sharex=True)
    for axes, (name, problem) in zip(grid.flat, problems.items(), strict=True):
        for way, (colour, label) in WAYS.items():
            points = problem["ways"][way]
            if points:
                times, low, median, high = (
                    [each[key] for each in points] for key in ("time", "low", "median", "high")
                )
                axes.fill_between(times, low, high, color=colour, alpha=0.15, linewidth=0, step="post")
                axes.step(times, median, color=colour, label=label, where="post")
        axes.set_title(name, fontsize=10)
        axes.set_ylabel(problem["measure"])
        axes.set_yscale("log")
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[1]:
        axes.set_xlabel("time; 1 is when the rounds have ended")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="lower center", ncols=3)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(picture, metadata={"Date": None} if picture.endswith(".svg") else None, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
