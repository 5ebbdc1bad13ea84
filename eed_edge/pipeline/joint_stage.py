"""Joint stage: train the selected members together and put them into running order."""

import logging

from eed_edge.atomic_files import write_json
from eed_edge.pipeline.select_stage import attacked_probs
from eed_edge.pipeline.stage_context import StageContext
from eed_edge.pipeline.team_judge import TeamJudge
from eed_edge.seeds import joint_seed
from eed_edge.select.diversity import robust_diversity
from eed_edge.select.running_order import judged_order
from eed_edge.train import joint
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import read_json

log = logging.getLogger(__name__)


def make_team(context: StageContext) -> None:
    """Train the members together, order them and save them; ``joint.json`` is written last."""
    run, cfg, state = context.run, context.run.recipe.joint, context.run.path / "joint.state"
    names = read_json(run.path / "selection.json")["members"]
    files, arch = [run.path / "pool" / f"{name}.safetensors" for name in names], run.recipe.net.arch
    loaded = [checkpoint.load_network(file, named_arch=arch) for file in files]
    members = [net.to(context.device) for net, _ in loaded]
    ensemble = Ensemble(members)
    notes = joint.loss_notes(cfg, ensemble, classes=len(run.classes))
    for note in notes:
        log.warning("%s", note)
    base = run.base().to(context.device)
    result = joint.train_joint(
        ensemble,
        context.with_soft_labels(base, cfg),
        context.tune,
        base=base,
        cfg=cfg,
        context=context.training_of("joint", seed=joint_seed(run.recipe.seed), state=state),
    )
    context.processes.barrier()
    if not context.processes.is_main:
        return
    probs, labels = attacked_probs(ensemble, context.tune, recipe=run.recipe)
    judge = TeamJudge(members, context.tune, run.recipe)
    order = judged_order(tuple(range(len(members))), judge)
    checkpoint.save_checkpoint(run.path / "joint" / "last.safetensors", result.last, {"members": names})
    for place, index in enumerate(order):
        record = {"pruning": loaded[index][1]["pruning"], "candidate": names[index]}
        checkpoint.save_network(run.member_path(place), members[index], record)
    write_json(
        run.path / "joint.json",
        {
            "members": [names[index] for index in order],
            "rd": robust_diversity(probs.argmax(2) != labels) if len(members) > 1 else 0.0,
            f"{'attacked' if run.recipe.attacked else 'clean'}_by_prefix": [
                judge(tuple(sorted(order[:t]))) for t in range(1, len(order) + 1)
            ],
            "training": result.summary,
            "notes": notes,
        },
    )
    state.unlink(missing_ok=True)
