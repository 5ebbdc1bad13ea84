"""ONNX twin of the gate rule ``geometric``."""

import numpy as np

from eed_edge.export.graph_builder import GraphBuilder, GraphDecision, StageTensors, State
from eed_edge.gate_rules.gate_rule import MIN_PROB, Parameters
from eed_edge.gate_rules.geometric_rule import NEVER_STOP_EXPONENT


def geometric_graph(
    graph: GraphBuilder, stage: StageTensors, state: State, parameters: Parameters
) -> GraphDecision:
    """Stop as soon as no later value can exceed the best (EED, eq. 21)."""
    zero, one = graph.constant(0, np.float64), graph.constant(1, np.float64)
    clamped = graph.add("Max", stage.mean, graph.constant(MIN_PROB, np.float64))
    logs = graph.add("Log", clamped)
    weight = graph.constant(parameters["g"], np.float64)
    exponent = graph.add("Mul", graph.over_row("ReduceMax", logs), weight)
    if stage.t:
        terms = graph.add("Mul", clamped, graph.add("Sub", logs, state["logs"]))
        divergence = graph.over_row("ReduceSum", terms)
        weighted = graph.add("Mul", divergence, graph.constant(parameters["k"], np.float64))
        valid = graph.squeeze(stage.valid)
        weighted = graph.add("Where", graph.add("Greater", valid, one), weighted, zero)
        exponent = graph.add("Sub", exponent, weighted)
    q = zero if parameters["g"] >= NEVER_STOP_EXPONENT else graph.add("Min", graph.add("Exp", exponent), one)
    q = graph.add("Where", stage.is_valid, q, zero)
    rest = graph.add("Sub", one, q)
    best, remaining, answer, prefix = q, rest, stage.mean, graph.filled(stage.t + 1, stage.is_valid)
    if stage.t:
        value = graph.add("Mul", q, state["remaining"])
        better = graph.add("Greater", value, state["best"])
        best = graph.add("Max", value, state["best"])
        remaining = graph.add("Mul", state["remaining"], rest)
        answer = graph.add("Where", graph.column(better), stage.mean, state["answer"])
        prefix = graph.add("Where", better, prefix, state["prefix"])
    memory = {"logs": logs, "best": best, "remaining": remaining, "answer": answer, "prefix": prefix}
    return GraphDecision(graph.add("GreaterOrEqual", best, remaining), answer, memory)
