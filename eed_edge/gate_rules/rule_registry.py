"""The gate rules by name, in the order of ``Rule``."""

from eed_edge.gate_rules.agreement_rule import AgreementRule
from eed_edge.gate_rules.confidence_rule import ConfidenceRule
from eed_edge.gate_rules.gate_rule import GateRule
from eed_edge.gate_rules.geometric_rule import GeometricRule

GATE_RULES: dict[str, GateRule] = {
    "confidence": ConfidenceRule(),
    "agreement": AgreementRule(),
    "geometric": GeometricRule(),
}
