"""The gate as deployed: rule and parameters, temperatures, abstain threshold, and the results on calib."""

from dataclasses import asdict, dataclass

from eed_edge import arguments
from eed_edge import manifest as contract
from eed_edge.export.gate.answer_calibration import fit_abstain, fit_temperatures
from eed_edge.export.gate.calibration import MemberProbs, calibrate
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.recipe import Gate

ABSTAIN_SHARE = 0.95


@dataclass(frozen=True)
class GateOptions:
    """What an export may set beside the recipe.

    max_submodels, deadline_ms: the default caps; temperatures and results are those under the former.
    abstain_share: of the right answers on calib, clean and attacked, that the abstain threshold leaves.

    Raises:
        InputError: one of them is of another type or out of range.
    """

    max_submodels: int | None = None
    deadline_ms: float | None = None
    abstain_share: float = ABSTAIN_SHARE

    def __post_init__(self) -> None:
        if self.max_submodels is not None:
            arguments.positive_int(
                "max_submodels", self.max_submodels, advice="the first sub-model always runs"
            )
        arguments.number_from_0("abstain_share", self.abstain_share, most=1)
        object.__setattr__(self, "deadline_ms", arguments.deadline(self.deadline_ms))


DEFAULT_OPTIONS = GateOptions()


@dataclass(frozen=True)
class CalibratedGate:
    """The parts of the manifest that come from the calibration set."""

    spec: contract.GateSpec
    calibration: contract.Calibration
    temperatures: tuple[float, ...]
    abstain: contract.Abstain


def calibrate_gate(
    answers: MemberProbs,
    cfg: Gate,
    *,
    attack: str,
    options: GateOptions = DEFAULT_OPTIONS,
) -> CalibratedGate:
    """Calibrate gate, temperatures and abstain threshold on recorded answers.

    Args:
        attack: how the attacked images were made, for the manifest.
        options: caps and abstain share.
    """
    settings = calibrate(answers, cfg, max_submodels=options.max_submodels)
    parameters = {rule: GATE_RULES[rule].parameters_type(**one.parameters) for rule, one in settings.items()}
    spec = contract.GateSpec(
        cfg.rule,  # type: ignore[arg-type]
        contract.GateParameters(**parameters),
        options.max_submodels,
        options.deadline_ms,
    )
    temperatures = fit_temperatures(answers, spec)
    losses = {
        rule: contract.RuleLoss(**{key: value for key, value in asdict(one).items() if key != "parameters"})
        for rule, one in settings.items()
    }
    calibration = contract.Calibration(
        images=len(answers.labels), attack=attack, max_drop=cfg.max_drop, guarantee=cfg.guarantee, **losses
    )
    abstain = fit_abstain(answers, spec, temperatures, share=options.abstain_share)
    return CalibratedGate(spec, calibration, temperatures, abstain)
