import pytest

from limbeck.compare import Budget, equal_budget
from limbeck.errors import UserError


def test_equal_budgets_pass() -> None:
    assert equal_budget([Budget("kd", 0, 400, 400), Budget("mate", 0, 400, 400)]) == 400


def test_every_cell_of_another_fidelity_is_named() -> None:
    runs = [
        Budget("kd", 0, 400, 400),
        Budget("kd", 1, 400, 400),
        Budget("mate", 0, 400, 120),
        Budget("mate", 1, 400, 50),
        Budget("cilda", 0, 800, 800),
    ]
    with pytest.raises(UserError) as told:
        equal_budget(runs)
    assert str(told.value).splitlines()[:2] == [
        "mate: seed 0 took 120 of 400 updates; seed 1 took 50 of 400 updates",
        "cilda: seed 0 was planned for 800 updates, others for 400",
    ]


def test_seconds_are_missed_by_a_little() -> None:
    runs = [Budget("kd", 0, 60, 61.5), Budget("mate", 0, 60, 63)]
    assert equal_budget(runs, "seconds", tolerance=0.1) == 60
    with pytest.raises(UserError, match="took 63 of 60 seconds"):
        equal_budget(runs, "seconds", tolerance=0.03)
