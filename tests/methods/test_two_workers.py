"""Two workers with half the batch each end where one worker with the whole batch ends."""

import pytest
import torch

import side_by_side
import toys
from limbeck.methods import METHODS
from methods.test_contract import SETTINGS

STEPS = 12
VARIANTS = [
    *((name, {}) for name in METHODS),
    ("cilda", {"other_view": "positive"}),
    ("cilda", {"contrast": "mse"}),
    ("codir", {"contrast": "nce"}),
    ("codir", {"contrast": "mse"}),
]


def label(value: object) -> str:
    return "-".join(value.values()) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=label)
def test_two_workers_equal_one(name: str, settings: dict[str, str]) -> None:
    batches = [toys.batch(seed=step, start=8 * (step % 4)) for step in range(STEPS)]
    config = METHODS[name].Config(**SETTINGS.get(name, {}), **settings)

    (one,) = side_by_side.train(lambda parts: METHODS[name](config, parts), batches, 1)
    two = side_by_side.train(lambda parts: METHODS[name](config, parts), batches, 2)

    # A key bias has no gradient but rounding errors, which Adam makes as large as any other. Glitter's store has what
    # its own worker has asked the teacher for.
    names = [key for key in one if not key.endswith(("key.bias", "1.answers", "1.asked"))]
    for other in two:
        apart = {key: float((one[key].float() - other[key].float()).abs().max()) for key in names}
        assert max(apart.values()) < 1e-4, {key: value for key, value in apart.items() if value >= 1e-4}
    assert all(torch.equal(two[0][key], two[1][key]) for key in names)
