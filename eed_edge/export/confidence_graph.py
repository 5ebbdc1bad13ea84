"""ONNX twin of the gate rule ``confidence``."""

from collections.abc import Mapping

import numpy as np

from eed_edge.export.graph_builder import GraphBuilder, GraphDecision, StageTensors, State


def confidence_graph(
    graph: GraphBuilder, stage: StageTensors, state: State, parameters: Mapping[str, float]
) -> GraphDecision:
    """Stop where ``max(m_t) >= threshold``."""
    threshold = graph.constant(parameters["threshold"], np.float64)
    largest = graph.over_row("ReduceMax", stage.mean)
    return GraphDecision(graph.add("GreaterOrEqual", largest, threshold), stage.mean, {})
