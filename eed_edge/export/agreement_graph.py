"""ONNX twin of the gate rule ``agreement``."""

import numpy as np
from onnx import TensorProto

from eed_edge.export.graph_builder import GraphBuilder, GraphDecision, StageTensors, State
from eed_edge.gate_rules.gate_rule import Parameters


def agreement_graph(
    graph: GraphBuilder, stage: StageTensors, state: State, parameters: Parameters
) -> GraphDecision:
    """Stop from the second sub-model on where enough of them vote for the argmax of the mean."""
    vote = graph.add("ArgMax", stage.probs, axis=1, keepdims=0)
    invalid_class = graph.constant(stage.classes, np.int64)  # out of range: a vote for no class
    vote = graph.column(graph.add("Where", stage.is_valid, vote, invalid_class))
    classes = graph.constant(range(stage.classes), np.int64)
    # Not OneHot: for an empty batch onnxruntime 1.20 to 1.26 crashes in it.
    votes = graph.add("Cast", graph.add("Equal", vote, classes), to=TensorProto.INT64)
    votes = graph.add("Add", state["votes"], votes) if stage.t else votes  # (r, k) per class
    if not stage.t:
        return GraphDecision(None, stage.mean, {"votes": votes})
    favourite = graph.add("ArgMax", stage.mean, axis=1, keepdims=1)
    supporters = graph.squeeze(graph.add("GatherElements", votes, favourite, axis=1))
    needed = graph.constant(int(parameters["votes"]), np.int64)
    stop = graph.add("And", graph.add("GreaterOrEqual", supporters, needed), stage.is_valid)
    return GraphDecision(stop, stage.mean, {"votes": votes})
