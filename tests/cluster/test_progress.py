import io

import pytest
from rich.console import Console

from limbeck.cluster.ledger import Standing
from limbeck.cluster.progress import Beat, Board, duration


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def board(clock: Clock, **console: object) -> tuple[Board, io.StringIO]:
    out = io.StringIO()
    return Board(Console(file=out, width=100, **console), "retention", clock), out


def test_without_a_terminal_a_line_comes_when_a_trial_ended_and_not_twice_in_half_a_minute() -> None:
    clock = Clock()
    shown, out = board(clock)
    with shown:
        shown.show(Standing(4))
        shown.open(Standing(4))
        for seconds, ended in ((10, 1), (10, 2), (15, 2), (5, 3)):
            clock.now += seconds
            shown.show(Standing(4, complete=ended, running=1, best=0.9, spent=float(ended)))
        shown.close(Standing(4, complete=3, failed=1, best=0.95, spent=4.0))
    assert out.getvalue().splitlines() == [
        "1/4 trials: 1 running, best retention 0.9000, about 30 s left",
        "3/4 trials: 1 running, best retention 0.9000, about 13 s left",
        "4/4 trials: 1 failed, best retention 0.9500",
    ]


def test_a_resumed_sweep_reckons_with_what_it_spent_itself() -> None:
    clock = Clock()
    shown, _ = board(clock)
    shown.open(Standing(10, complete=8, spent=8.0))
    clock.now += 60
    assert shown.words(Standing(10, complete=9, spent=9.0)) == "about 60 s left"


def test_a_terminal_gets_a_bar_that_goes_away_and_a_last_word() -> None:
    clock = Clock()
    shown, out = board(clock, force_terminal=True)
    with shown:
        shown.open(Standing(4))
        shown.show(Standing(4, complete=1, stopped=1, spent=2.0))
        assert "2/4" in out.getvalue() and "1 stopped early" in out.getvalue()
        shown.close(Standing(4, complete=3, stopped=1, best=0.5, spent=4.0))
    assert "4/4 trials: 1 stopped early, best retention 0.5000" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7600, "2 h 7 min")]
)
def test_durations_are_told_in_a_word_or_two(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_beat_calls_one_often_and_the_other_seldom() -> None:
    clock, often, seldom = Clock(), [], []
    beat = Beat(lambda: often.append(clock.now), lambda: seldom.append(clock.now), clock)
    for _ in range(100):
        clock.now += 0.5
        beat()
        beat()
    assert len(often) == 100
    assert seldom == [130.0]
