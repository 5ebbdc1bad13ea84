"""Training flow: base, pool, selection and joint training, one stage a file."""

from eed_edge.pipeline.run_stages import STAGES, train
from eed_edge.pipeline.select_stage import attacked_probs
from eed_edge.train.system.devices import choose_device

__all__ = ["STAGES", "attacked_probs", "choose_device", "train"]
