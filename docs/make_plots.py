"""Draw the figures of docs/examples from what the examples have computed.

    .venv/bin/python docs/make_plots.py lammps fortran container

Each name is an example that has been run in this directory: it reads outputs/NAME and writes
docs/pictures/NAME.svg.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from axsched_hpc.core.best import best
from axsched_hpc.core.machine import Trial
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.reporting.reading import Reading, read_experiment

PICTURES = Path(__file__).with_name("pictures")

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#767676"  # told apart by the colour-blind too
STYLE = {
    "svg.hashsalt": "axsched-hpc",  # the same run gives the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


class Run:
    """What an example has found: its completed trials, oldest first, and the best of them."""

    def __init__(self, directory: Path) -> None:
        self.reading: Reading = read_experiment(directory)
        trials = self.reading.ledger.trials
        self.trials = [trial for _, trial in sorted(trials.items()) if trial.metrics]
        self.best: Trial = best(trials.values(), self.reading.problem)[0]

    def files(self, trial: Trial) -> AttemptFiles:
        """Those of the attempt that completed the trial."""
        return self.reading.layout.attempt(trial.number, len(trial.attempts))

    def values(self, metric: str) -> list[float]:
        """A metric of all trials."""
        return [trial.metrics[metric][0] for trial in self.trials if trial.metrics]

    def parameters(self, name: str) -> list[float]:
        """A parameter of all trials."""
        return [trial.parameters[name] for trial in self.trials]


def convergence(axes: Axes, run: Run, values: Iterable[float], better: Callable[..., float]) -> None:
    """Each trial as a dot, and the best so far as a line."""
    numbers, values = [trial.number for trial in run.trials], list(values)
    axes.plot(numbers, values, "o", color=GREY, markersize=4, label="a trial")
    so_far = list(itertools.accumulate(values, better))
    axes.step(numbers, so_far, where="post", color=BLUE, label="the best so far")
    axes.set_title("Convergence")
    axes.set_xlabel("trial")
    axes.xaxis.get_major_locator().set_params(integer=True)


def lammps(run: Run, left: Axes, right: Axes) -> None:
    """The misfit, and the energy of the crystal against its lattice constant."""
    convergence(left, run, [10**value for value in run.values("log_misfit")], min)
    left.set_yscale("log")
    left.set_yticks(ticks := [0.5, 1, 2, 5, 10, 20, 50], [f"{tick:g}" for tick in ticks])
    left.minorticks_off()
    left.set_ylabel("misfit (%)")
    left.legend()

    for trial, colour, label in (
        (run.trials[0], GREY, f"trial {run.trials[0].number}, the first"),
        (run.best, BLUE, f"trial {run.best.number}, the best"),
    ):
        log = (run.files(trial).work / "log.lammps").read_text(encoding="utf-8")
        rows = [line.split()[1:] for line in log.splitlines() if line.startswith("ENERGY_AT ")]
        right.plot(*zip(*[map(float, row) for row in rows], strict=True), color=colour, label=label)
    # Near its minimum the energy per atom is B (V - V0)^2 / (2 V0), with the bulk modulus B and V = a^3 / 4.
    lattice, cohesion, modulus = 3.61, 3.49, 137 / 160.2177  # Angstrom, eV, eV / Angstrom^3
    near = [lattice * (1 + percent / 100) for percent in range(-5, 6)]
    bowl = [modulus * (a**3 - lattice**3) ** 2 / (8 * lattice**3) - cohesion for a in near]
    right.plot(near, bowl, "--", color=ORANGE, label="from the measured modulus")
    right.plot([lattice], [-cohesion], "o", color=ORANGE, label="measured")
    right.set_xlim(3.1, 4.9)
    right.set_ylim(-4.0, -1.0)
    right.set_title("Copper")
    right.set_xlabel("lattice constant (Å)")
    right.set_ylabel("energy per atom (eV)")
    right.legend(loc="upper center", bbox_to_anchor=(0.6, 1.0))


def fortran(run: Run, left: Axes, right: Axes) -> None:
    """The heat flow, and the best fin with its temperature."""
    convergence(left, run, run.values("heat_flow"), max)
    # The best of all fins is a parabola, (3 k A / h)^(1/3) long, on which the temperature falls linearly.
    conductivity, area, coefficient, warmer = 200.0, 1e-4, 50.0, 80.0
    length = (3 * conductivity * area / coefficient) ** (1 / 3)
    left.axhline(coefficient * length * warmer, color=ORANGE, linestyle="--", label="theory")
    left.set_ylabel("heat flow per width (W/m)")
    left.legend()

    text = (run.files(run.best).work / "profile.dat").read_text(encoding="utf-8")
    rows = [list(map(float, line.split())) for line in text.splitlines() if not line.startswith("#")]
    place = [1000 * row[0] for row in rows]
    half = [500 * row[1] for row in rows]
    right.fill_between(place, half, [-each for each in half], color=BLUE, alpha=0.35, linewidth=0)
    right.set_title(f"Trial {run.best.number}, the best")
    right.set_xlabel("distance from the wall (mm)")
    right.set_ylabel("profile (mm)", color=BLUE, y=0.2)
    right.set_ylim(-2, 8)  # the fin below, the temperature above it
    right.set_yticks([-1, 0, 1])
    warmth = right.twinx()
    warmth.spines["right"].set_visible(True)
    warmth.plot(place, [row[2] - 273.15 for row in rows], color=GREEN, label="temperature")
    warmth.plot([0, 1000 * length], [100, 20], "--", color=ORANGE, label="theory")
    warmth.set_ylim(-50, 105)
    warmth.set_yticks(range(20, 101, 20))
    warmth.set_ylabel("temperature (°C)", color=GREEN, y=0.7)
    warmth.legend(loc="upper right")


def container(run: Run, left: Axes, right: Axes) -> None:
    """The surface, and where the trials were."""
    convergence(left, run, run.values("surface"), min)
    left.axhline(600, color=ORANGE, linestyle="--", label="a cube")
    left.set_yscale("log")
    left.set_yticks(ticks := [600, 1000, 2000, 4000], [str(tick) for tick in ticks])
    left.minorticks_off()
    left.set_ylabel("surface (dm²)")
    left.legend()

    sides = [1 + 29 * step / 200 for step in range(201)]
    surface = [[2 * (w * h + 1000 / h + 1000 / w) for w in sides] for h in sides]
    lines = right.contour(sides, sides, surface, [620, 700, 850, 1100, 1500], colors=GREY, linewidths=0.8)
    right.clabel(lines, fontsize=7)
    right.plot(run.parameters("width"), run.parameters("height"), "o", color=BLUE, clip_on=False, zorder=3)
    for trial in run.trials:
        place = (trial.parameters["width"], trial.parameters["height"])
        right.annotate(str(trial.number), place, xytext=(4, 4), textcoords="offset points", color=BLUE)
    right.plot([10], [10], "+", color=ORANGE, markersize=10, markeredgewidth=2, label="a cube")
    right.set_title("Surface (dm²) and trials")
    right.set_xlabel("width (dm)")
    right.set_ylabel("height (dm)")
    # Above the axes: within them, its cross would pass for a point.
    right.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


FIGURES: dict[str, Callable[[Run, Axes, Axes], None]] = {
    each.__name__: each for each in (lammps, fortran, container)
}


def main(names: list[str]) -> None:
    """Draw the figures of these examples."""
    if not names or not set(names) <= set(FIGURES):
        raise SystemExit(f"usage: make_plots.py NAME..., of {', '.join(FIGURES)}")
    for name in names:
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(8.0, 3.3), layout="constrained")
            left, right = figure.subplots(1, 2)
            FIGURES[name](Run(Path("outputs") / name), left, right)
            # White is drawn, not left open: the page may be dark.
            figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main(sys.argv[1:])
