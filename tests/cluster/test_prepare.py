"""What is made before the first trial: once for each set of shared things, and all of it."""

from limbeck.cluster.prepare import shared_specs
from limbeck.plan import parse_plan

PLAN = """
name: p
base: {task: movies, method: kd}
ablate:
  design: leave-one-out
  factors:
    stage: {method: {name: codir, pretraining: {updates: 5}}}
    no stage: {method: codir}
    mate: {method: {name: mate, generator: {layers: 2}}}
    quicker mate: {method: {name: mate, generator: {layers: 2, learning_rate: 1.0e-5}}}
    masks: {method: {name: random_mask, generator: {layers: 2}}}
    as they are: {method: {name: l2a, sweeps: 0, source_share: 0}}
    more texts: {training.unlabelled: 100}
    sources: {sources: [amazon]}
"""


def test_cells_that_share_nothing_new_are_prepared_once() -> None:
    specs = shared_specs(parse_plan(PLAN, "p"))
    found = [(spec.method.name, spec.training.unlabelled, len(spec.sources)) for spec in specs]
    assert found == [("kd", 0, 0), ("codir", 0, 0), ("mate", 0, 0), ("kd", 100, 0), ("kd", 0, 1)]
    assert [len(list(spec.method.generators())) for spec in specs] == [0, 1, 1, 0, 0]
