"""The table of methods: one line each. Adding one: its file, this line, a test, a search space and a card."""

from limbeck.methods.ad2 import Ad2
from limbeck.methods.base import Method
from limbeck.methods.cilda import Cilda
from limbeck.methods.codir import Codir
from limbeck.methods.eda import Eda
from limbeck.methods.finetune import Finetune
from limbeck.methods.freelb import Freelb
from limbeck.methods.glitter import Glitter
from limbeck.methods.kd import Kd
from limbeck.methods.l2a import L2a
from limbeck.methods.mate import Mate
from limbeck.methods.mixup import Mixup
from limbeck.methods.pkd import Pkd
from limbeck.methods.random_mask import RandomMask

METHODS: dict[str, type[Method]] = {
    "ad2": Ad2,
    "cilda": Cilda,
    "codir": Codir,
    "eda": Eda,
    "finetune": Finetune,
    "freelb": Freelb,
    "glitter": Glitter,
    "kd": Kd,
    "l2a": L2a,
    "mate": Mate,
    "mixup": Mixup,
    "pkd": Pkd,
    "random_mask": RandomMask,
}
