"""The jobs of the suite quick, run on given images."""

from eed_edge.attacks.interface import Threat
from eed_edge.evaluate import attack_jobs, suites
from eed_edge.evaluate.outcome import Outcome


def attacked(models, images, labels, folder, *, eps: float) -> tuple[list, dict[str, Outcome]]:
    todo = attack_jobs.build_jobs(models, suites.find_suite("quick"))
    outcomes = attack_jobs.run_batch(
        todo, models, images, labels, threat=Threat(eps, 0), folder=folder, step=lambda name: None
    )
    return todo, outcomes
