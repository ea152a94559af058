"""The problems of quality.py: BoTorch's own test functions, whose optima are known, as Ax is given them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy
from botorch.test_functions import Branin, BraninCurrin, Hartmann
from botorch.utils.multi_objective.hypervolume import Hypervolume

Values = dict[str, float]

#: Epochs of a training of the learning-curve problem.
EPOCHS = 12


@dataclass(frozen=True)
class Problem:
    """What is optimised and how it is judged.

    Attributes
    ----------
    evaluate
        A point's metrics.
    miss
        How far the best of the completed trials is from the optimum; 0 is perfect.
    curve
        The objective after each epoch, of a point; None for a problem without curves.
    """

    name: str
    measure: str
    dimension: int
    objective: str
    constraints: tuple[str, ...]
    evaluate: Callable[[Sequence[float]], Values]
    miss: Callable[[Sequence[Values]], float]
    curve: Callable[[Sequence[float]], list[float]] | None = None

    def client(self, seed: int, *, sobol: bool = False) -> Client:
        """Ax, configured as its tutorials do it; with its default strategy, or with Sobol's points alone."""
        client = Client(random_seed=seed)
        client.configure_experiment(
            [
                RangeParameterConfig(name=f"x{number}", parameter_type="float", bounds=(0.0, 1.0))
                for number in range(self.dimension)
            ],
            name=self.name,
        )
        client.configure_optimization(self.objective, list(self.constraints))
        if self.curve is not None:
            client.set_early_stopping_strategy(
                PercentileEarlyStoppingStrategy(min_progression=3, min_curves=5)
            )
        if sobol:
            client.configure_generation_strategy(method="random_search")
        return client

    def point(self, parameters: Mapping[str, object]) -> list[float]:
        """A trial's parameters as coordinates in the unit cube."""
        return [float(parameters[f"x{number}"]) for number in range(self.dimension)]  # type: ignore[arg-type]


def _tensor(point: Sequence[float]) -> torch.Tensor:
    return torch.tensor(point, dtype=torch.double)


_hartmann6, _hartmann3, _branin, _branin_currin = Hartmann(dim=6), Hartmann(dim=3), Branin(), BraninCurrin()


def _regret(metric: str, optimum: float, worst: float) -> Callable[[Sequence[Values]], float]:
    """The best value's distance from the optimum, or what stands for no value at all."""
    return lambda values: min((each[metric] for each in values), default=worst) - optimum


def _disk_metrics(point: Sequence[float]) -> Values:
    first, second = 15 * point[0] - 5, 15 * point[1]
    value = float(_branin(_tensor((first, second))))
    return {"f": value, "outside": (first - 2.5) ** 2 + (second - 7.5) ** 2 - 50}


def _feasible_regret(values: Sequence[Values]) -> float:
    # Where nothing is feasible it counts as the worst value, which is in a corner.
    return _regret("f", 0.397887, 308.13)([each for each in values if each["outside"] <= 0])


def _lost_volume(values: Sequence[Values]) -> float:
    reference = _branin_currin._ref_point
    points = torch.tensor([[-each["branin"], -each["currin"]] for each in values], dtype=torch.double)
    volume = Hypervolume(-torch.tensor(reference, dtype=torch.double)).compute(points) if values else 0.0
    return float(_branin_currin._max_hv - volume)


def _training(point: Sequence[float]) -> list[float]:
    """A loss that falls to Hartmann's function of the point, on a scale from 0.1 on, in few epochs or many:
    curves cross, so that to stop by them can be wrong.
    """
    final = 0.1 + (float(_hartmann3(_tensor(point))) + 3.86278) / 3.86278
    tau = 1.0 + 4.0 * (1.0 - point[0])
    end = math.exp(-EPOCHS / tau)
    return [final + 1.5 * (math.exp(-epoch / tau) - end) for epoch in range(1, EPOCHS + 1)]


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(
            "hartmann6",
            "regret",
            6,
            "-f",
            (),
            lambda point: {"f": float(_hartmann6(_tensor(point)))},
            _regret("f", -3.32237, 0.0),
        ),
        Problem(
            "branin-currin",
            "hypervolume missing",
            2,
            "-branin, -currin",
            (),
            lambda point: dict(
                zip(("branin", "currin"), map(float, _branin_currin(_tensor(point))), strict=True)
            ),
            _lost_volume,
        ),
        Problem(
            "branin-disk",
            "regret, feasible",
            2,
            "-f",
            ("outside <= 0",),
            _disk_metrics,
            _feasible_regret,
        ),
        Problem(
            "curves",
            "regret",
            3,
            "-loss",
            (),
            lambda point: {"loss": _training(point)[-1]},
            _regret("loss", 0.1, 1.1),
            _training,
        ),
    )
}
