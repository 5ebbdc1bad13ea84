"""Derived seeds: every random number of training, export and evaluation starts from the recipe's seed here.

Changing a number here changes the results of every recipe. Random generators of numpy take a list of
integers as one seed.
"""

import hashlib


def holdout_seed(seed: int) -> list[int]:
    """Seed of the order in which a test part is held back, of data sets without one."""
    return [seed, 1]


def train_split_seed(seed: int) -> list[int]:
    """Seed of the order in which the remaining images are divided into tune, calib and train."""
    return [seed, 2]


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of order, augmentation and attacks of one epoch of a training or a score search."""
    return seed * 1_000_003 + epoch


def process_seed(seed: int, rank: int) -> int:
    """Seed of augmentation and attacks of one process; processes share the order that ``seed`` gives."""
    return seed + 15_485_863 * rank


def candidate_seed(seed: int, index: int) -> int:
    """Seed of score, search and fine-tuning of the candidate at ``index`` of the pool."""
    return seed * 1009 + index + 1


def subset_seed(seed: int, score_number: int) -> list[int]:
    """Seed of the order of the training images from which the data subsets of one score are cut."""
    return [seed, score_number]


def joint_seed(seed: int) -> int:
    """Seed of joint training, so that it does not repeat the order of the base's training."""
    return seed + 500_000


def narrow_seed(seed: int) -> int:
    """Seed of weights and training of the narrow baseline, so that it does not start as the base did."""
    return seed + 700_000


def single_seed(seed: int) -> int:
    """Seed of score search and training of the single baseline."""
    return seed + 800_000


def prefix_seed(seed: int, length: int) -> int:
    """Seed of the attack on the calibration images against the prefix of ``length`` members."""
    return seed + length


def range_seed(seed: int) -> int:
    """Seed of the draw of training images for the ranges of int8 activations, and of the attack on them."""
    return seed + 900_000


def job_seed(seed: int, *names: str) -> int:
    """Seed of the attack of one evaluation job, in [0, 2**31)."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:4], "big") >> 1


def image_seed(seed: int, index: int) -> list[int]:
    """Seed of the corruption of the image at ``index`` of the test part."""
    return [seed, index]
