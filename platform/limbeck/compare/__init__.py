"""Seeds and examples in; means, intervals, paired tests and ablation tables out. Pure numbers."""

from limbeck.compare.ablation import AblationRow, ablation_table
from limbeck.compare.budget import Budget, equal_budget
from limbeck.compare.cells import Cell, make_cell, retention_scores
from limbeck.compare.designs import AliasGroup, Design, alias_groups, factorial_design, term_name
from limbeck.compare.effects import EffectRow, factorial_effects
from limbeck.compare.intervals import Interval, Resampling, difference_interval, interval
from limbeck.compare.paired import (
    McNemar,
    cohens_dz,
    holm,
    mcnemar,
    permutation_test,
    probability_of_improvement,
    sign_flip_test,
)
from limbeck.compare.power import (
    DesignPower,
    Noise,
    design_power,
    minimum_detectable_difference,
    smallest_p,
    unreachable,
)
from limbeck.compare.scaling import ScalingCurve, cost_to_reach, scaling_curve

__all__ = [
    "AblationRow",
    "AliasGroup",
    "Budget",
    "Cell",
    "Design",
    "DesignPower",
    "EffectRow",
    "Interval",
    "McNemar",
    "Noise",
    "Resampling",
    "ScalingCurve",
    "ablation_table",
    "alias_groups",
    "cohens_dz",
    "cost_to_reach",
    "design_power",
    "difference_interval",
    "equal_budget",
    "factorial_design",
    "factorial_effects",
    "holm",
    "interval",
    "make_cell",
    "mcnemar",
    "minimum_detectable_difference",
    "permutation_test",
    "probability_of_improvement",
    "retention_scores",
    "scaling_curve",
    "sign_flip_test",
    "smallest_p",
    "term_name",
    "unreachable",
]
