"""The gate rules by name.

Schema 1 of the manifest names these three as fields: a fourth rule needs schema 2 and a reader of schema 1.
"""

from eed_edge.runtime.gates.agreement_rule import AgreementRule
from eed_edge.runtime.gates.confidence_rule import ConfidenceRule
from eed_edge.runtime.gates.gate_rule import GateRule
from eed_edge.runtime.gates.geometric_rule import GeometricRule

GATE_RULES: dict[str, GateRule] = {
    "confidence": ConfidenceRule(),
    "agreement": AgreementRule(),
    "geometric": GeometricRule(),
}
