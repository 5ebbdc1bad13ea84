"""All attacks by name: those of each evaluation suite and those that a recipe can train with."""

from collections.abc import Mapping

from eed_edge.attacks.autoattack import AutoAttack, ShortAPGD
from eed_edge.attacks.carlini_wagner import CarliniWagner
from eed_edge.attacks.deepfool import DeepFool
from eed_edge.attacks.interface import Attack, TrainingAttack
from eed_edge.attacks.n_fgsm import NFGSM
from eed_edge.attacks.no_attack import NoAttack
from eed_edge.attacks.pgd import PGD

QUICK: Mapping[str, Attack] = {
    "pgd20": PGD(),
    "apgd": ShortAPGD(),
}
STANDARD: Mapping[str, Attack] = {
    "pgd20": PGD(),
    "autoattack": AutoAttack(),
    "cw": CarliniWagner(),
    "deepfool": DeepFool(),
}
"""The suites' attacks by their row in the report, in running order."""

EVALUATION_ATTACKS: Mapping[str, Attack] = {**QUICK, **STANDARD}

TRAINING_ATTACKS: Mapping[str, type[TrainingAttack]] = {
    "n-fgsm": NFGSM,
    "pgd": PGD,
    "none": NoAttack,
}
"""The values of a recipe's ``attack``."""
