import torch

from eed_edge.pipeline import team_judge
from eed_edge.pipeline.team_judge import TeamJudge
from eed_edge.recipe import from_dict
from eed_edge.train.data.batches import Images
from tests.attacks import linear

SIZE = (1, 4, 4)


def test_each_team_is_attacked_itself_and_once(monkeypatch):
    nets = [linear.classifier(2, SIZE, seed=seed, scale=5) for seed in (1, 2, 3)]
    generator = torch.Generator().manual_seed(0)
    pixels = (255 * (torch.rand(90, *SIZE, generator=generator) * 0.3 + 0.35)).to(torch.uint8)
    labels = nets[1](pixels / 255).argmax(1)
    eps = float(linear.exact_linf(nets[1], pixels / 255, labels).median())
    recipe = from_dict({"pool": {"eps_255": 255 * eps, "judge_steps": 10, "judge_images": 80}})
    attacked = []
    real = team_judge.correct_under_attack

    def recorded(net, *rest, **settings):
        attacked.append(len(net.members))
        return real(net, *rest, **settings)

    monkeypatch.setattr(team_judge, "correct_under_attack", recorded)
    judge = TeamJudge(nets, Images(pixels, labels), recipe)
    expected = (linear.exact_linf(nets[1], pixels[:80] / 255, labels[:80]) > eps).float().mean()
    assert abs(judge((1,)) - float(expected)) < 0.02
    assert judge((0, 1, 2)) == judge((0, 1, 2))
    assert attacked == [1, 3]
