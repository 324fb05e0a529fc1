"""The table of methods: one line each. Adding one: its file, this line, a test, a search space and a card."""

from limbeck.methods.base import Method
from limbeck.methods.finetune import Finetune
from limbeck.methods.kd import Kd
from limbeck.methods.mate import Mate
from limbeck.methods.random_mask import RandomMask

METHODS: dict[str, type[Method]] = {
    "finetune": Finetune,
    "kd": Kd,
    "mate": Mate,
    "random_mask": RandomMask,
}
