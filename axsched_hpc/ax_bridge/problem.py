"""What an experiment optimises, in the plain words of :mod:`axsched_hpc.core.best`."""

from __future__ import annotations

from collections.abc import Iterable

from ax.core.experiment import Experiment
from ax.core.optimization_config import OptimizationConfig
from ax.core.outcome_constraint import OutcomeConstraint
from ax.core.types import ComparisonOp

from axsched_hpc.ax_bridge.definition import objectives
from axsched_hpc.core.best import Constraint, Objective, Problem


def problem_of(experiment: Experiment, config: OptimizationConfig) -> Problem:
    """The objectives, outcome constraints and thresholds of an experiment."""
    status_quo = experiment.status_quo
    return Problem(
        objectives=tuple(_objective(terms) for terms in objectives(config.objective.expression)),
        constraints=_constraints(config.outcome_constraints),
        thresholds=_constraints(config.objective_thresholds if config.is_moo_problem else ()),
        status_quo=None if status_quo is None else status_quo.name,
    )


def _objective(terms: list[tuple[str, float]]) -> Objective:
    # Ax maximises the sum of these terms; one that is negative as a whole reads better as a minimisation.
    if all(weight < 0 for _, weight in terms):
        return Objective({name: -weight for name, weight in terms}, minimize=True)
    return Objective(dict(terms), minimize=False)


def _constraints(constraints: Iterable[OutcomeConstraint]) -> tuple[Constraint, ...]:
    return tuple(
        Constraint(
            weights=dict(
                zip(constraint.metric_names, (w for _, w in constraint.metric_weights), strict=True)
            ),
            op=">=" if constraint.op is ComparisonOp.GEQ else "<=",
            bound=float(constraint.bound),
            relative=constraint.relative,
        )
        for constraint in constraints
    )
