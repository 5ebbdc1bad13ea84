"""ONNX twin of the gate rule ``confidence``."""

import numpy as np

from eed_edge.export.graph_builder import GraphBuilder, GraphDecision, StageTensors, State
from eed_edge.gate_rules.confidence_rule import threshold_at
from eed_edge.gate_rules.gate_rule import Parameters


def confidence_graph(
    graph: GraphBuilder, stage: StageTensors, state: State, parameters: Parameters
) -> GraphDecision:
    """Stop where ``max(m_t)`` reaches the threshold of this stop."""
    threshold = graph.constant(threshold_at(parameters, stage.t + 1), np.float64)
    largest = graph.over_row("ReduceMax", stage.mean)
    stop = graph.add("And", graph.add("GreaterOrEqual", largest, threshold), stage.is_valid)
    return GraphDecision(stop, stage.mean, {})
