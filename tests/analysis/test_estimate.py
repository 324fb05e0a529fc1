"""What a plan will take, by what was measured."""

from pathlib import Path
from typing import Any

import pytest

from limbeck.analysis.estimate import Estimate, Planned, complete_trials, estimate
from stored_results import Results


def spec(method: str = "kd", task: str = "movies", layers: int = 2, **training: Any) -> dict[str, Any]:
    return {
        "task": {"name": task},
        "teacher": {},
        "student": {"layers": layers},
        "method": {"name": method},
        "training": {"seconds": None, "batch_size": 32} | training,
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Trials of 100 updates: kd takes 10, 20 and 90 s with two layers, 500 with six; mate takes 400."""
    found = Results(tmp_path)
    found.sweep()
    for seed, seconds in enumerate((10.0, 20.0, 90.0)):
        found.trial("kd", seed, None, seconds=seconds, spec=spec())
    found.trial("big", 0, None, seconds=500.0, spec=spec(layers=6))
    found.trial("mate", 0, None, seconds=400.0, spec=spec("mate"))
    found.trial("broken", 0, None, seconds=1.0, spec=spec("mate"), state="failed")
    return found


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        # The likest three, by their middle rate of 0.2 s an update.
        ([Planned(4, spec(), 1000)], Estimate(800.0, 4, 0, 3)),
        # The middle of kd's four, of any student: (0.2 + 0.9) / 2 s an update.
        ([Planned(1, spec(layers=3), 10)], Estimate(5.5, 1, 0, 4)),
        # No mate with this batch, and the only ones with the method.
        ([Planned(1, spec("mate", batch_size=64), 10)], Estimate(40.0, 1, 0, 1)),
        # A method never tried: all of the task's five.
        ([Planned(1, spec("new"), 10)], Estimate(9.0, 1, 0, 5)),
        # Nobody knows how many rows there are: as long as those took.
        ([Planned(2, spec("mate"), None)], Estimate(800.0, 2, 0, 1)),
        # A budget in seconds needs no measurement; another task's trials have none.
        (
            [Planned(3, spec(task="topics", seconds=60.0), 9), Planned(2, spec(task="topics"), 9)],
            Estimate(180.0, 3, 2, 0),
        ),
        ([Planned(2, spec(task="topics"), 9)], None),
    ],
)
def test_the_likest_trials_count(results: Results, planned: list[Planned], expected: Estimate | None) -> None:
    assert estimate(complete_trials(results.reader()), planned) == expected
