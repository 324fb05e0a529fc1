"""What Ray Tune sees of a sweep: a searcher that hands out trials, and a callback that takes in what they tell."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from limbeck.cluster.ledger import Ledger
from limbeck.cluster.messages import End, Message, Ready, Refused, Report, Said, unpacked
from limbeck.errors import UserError

T = TypeVar("T")
_DIED = "The actor died"
"""How Ray begins to tell that a process has ended without a word."""


class StudyBridge(Searcher):  # type: ignore[misc]
    """Hands Tune the ledger's trials, whether Optuna proposed them or a grid or an ablation lists them.

    Before them come the jobs of `opening`: one makes ready what trials share, the others keep their actors warm. Tune's
    own record of the search stays empty: a sweep goes on from the results, not from Tune's files.
    """

    def __init__(self, ledger: Ledger, opening: Sequence[Mapping[str, Any]], callback: "StoreCallback") -> None:
        super().__init__()
        self._ledger = ledger
        self._opening = list(opening)[::-1]
        self._callback = callback

    def suggest(self, trial_id: str) -> Any:
        """Return the next job as Tune's config, None when it has to wait, or the word that there are no more."""
        if self._opening:
            return self._opening.pop()
        if not self._callback.is_open:
            return None
        job = self._callback.guarded(self._ledger.next)
        return Searcher.FINISHED if job is None else {"trial": job.trial, "folder": str(job.folder)}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the callback has told the ledger."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class InOrder(FIFOScheduler):  # type: ignore[misc]
    """Leaves to Tune's list of waiting trials which one is next, instead of looking through all there ever were."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return none."""
        return None


class StoreCallback(Callback):  # type: ignore[misc]
    """Hands the ledger what Tune hears of the trials, and the driver what it hears of the opening."""

    def __init__(
        self, ledger: Ledger, opened: Callable[[], None], say: Callable[[str], None], tick: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._opened = opened
        self._say = say
        self._tick = tick
        self.error: Exception | None = None
        """What a listener raised: of it Tune hands on no more than the text."""
        self.is_open = False
        """Whether trials may start."""

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if name := _name(trial):
            self.guarded(lambda: self._ledger.started(name))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        message = unpacked(result)
        self.guarded(lambda: self._take(_name(trial), message))

    def _take(self, name: str, message: Message | None) -> None:
        match message:
            case Report():
                self._ledger.reported(name, message)
            case End():
                self._ledger.ended(name, message)
            case Said():
                self._say(message.line)
            case Ready():
                self._opened()
                self.is_open = True
            case Refused(traceback=None):
                raise message.error()
            case Refused():
                raise RuntimeError(f"what the trials share could not be made\n{message.traceback}")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if name := _name(trial):
            self._say(f"trial {name}: its process died; it goes on from its last checkpoint")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        said = str(trial.get_error() or "").strip()
        self.guarded(lambda: self._lost(trial, said))

    def _lost(self, trial: Trial, said: str) -> None:
        reason = "its process died again and again; it may have run out of memory"
        if name := _name(trial):
            self._ledger.ended(name, End("failed", error=reason, traceback=said or None))
        elif "specs" in trial.config:
            what = f"what the trials share could not be made: {reason}"
            raise UserError(what) if _DIED in said else RuntimeError(f"{what}\n{said}")

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.guarded(self._tick)

    def guarded(self, act: Callable[[], T]) -> T:
        """Return what `act` does; what it raises is kept."""
        try:
            return act()
        except Exception as error:
            self.error = error
            raise


def _name(trial: Trial) -> str:
    """The sweep's name for a trial; empty for a job of the opening."""
    name: str = trial.config.get("trial", "")
    return name
