"""Fit a layer's time over its widths to times that were measured in whole networks.

A smooth law, ``a + b·inputs + c·outputs + d·inputs·outputs`` with no negative coefficient, is corrected at
the knots towards the measurements: kernels work in blocks of channels, which the law does not model.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eed_edge.latency.latency_table import HeldOutErrors, LayerTimes

NetworkTimes = dict[str, tuple[int, int, float]]
"""Layer to inputs, outputs and milliseconds, in one network."""
MOST_KNOTS = 8
KEEP_LAW, KEEP_NEIGHBOURS = 0.02, 0.1
"""Weights, against one measurement's, of the law at a knot and of what neighbouring knots depart from it."""
FOLDS = 4


def fit_layers(networks: Sequence[NetworkTimes]) -> tuple[LayerTimes, ...]:
    """Fit every layer that occurs in the networks, in the order of first occurrence."""
    names = dict.fromkeys(name for network in networks for name in network)
    return tuple(
        _fit(name, np.array([network[name] for network in networks if name in network], float))
        for name in names
    )


def held_out_errors(networks: Sequence[NetworkTimes]) -> HeldOutErrors:
    """Predict each network by a fit to the others, a quarter left out at a time.

    The first two networks, the largest and the smallest, are in every fit.
    """
    errors = []
    rest = list(range(2, len(networks)))
    for fold in range(FOLDS):
        left_out = rest[fold::FOLDS]
        layers = fit_layers([networks[i] for i in range(len(networks)) if i not in left_out])
        for i in left_out:
            here = networks[i]
            predicted = sum(layer.at(*here[layer.name][:2]) for layer in layers if layer.name in here)
            errors.append(abs(predicted / sum(ms for _, _, ms in here.values()) - 1))
    return HeldOutErrors(
        networks=len(errors), median=float(np.median(errors or [0])), worst=float(max(errors, default=0))
    )


def _fit(name: str, samples: NDArray[np.float64]) -> LayerTimes:
    inputs, outputs, ms = samples.T
    knots = _knots(inputs), _knots(outputs)
    law = _law(inputs, outputs, ms)
    grid = np.stack(np.meshgrid(*knots, indexing="ij"), -1).reshape(-1, 2)
    smooth = _terms(grid[:, 0], grid[:, 1]) @ law
    near = _bilinear(knots[0], inputs)[:, :, None] * _bilinear(knots[1], outputs)[:, None, :]
    measured = near.reshape(len(samples), -1) * smooth / ms[:, None]
    # One unknown for each knot: how its time departs from the law's, as a factor.
    pairs = _neighbours(len(knots[0]), len(knots[1]))
    rows = [measured, KEEP_LAW**0.5 * np.eye(len(grid)), KEEP_NEIGHBOURS**0.5 * pairs]
    goal = np.concatenate([np.ones(len(samples)), np.full(len(grid), KEEP_LAW**0.5), np.zeros(len(pairs))])
    factors = np.linalg.lstsq(np.concatenate(rows), goal, rcond=None)[0]
    times = (smooth * np.maximum(factors, 0)).reshape(len(knots[0]), len(knots[1]))
    return LayerTimes(
        name=name,
        inputs=tuple(int(knot) for knot in knots[0]),
        outputs=tuple(int(knot) for knot in knots[1]),
        ms=tuple(tuple(float(f"{value:.6g}") for value in row) for row in times),
    )


def _knots(widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """The widths that occur, at most ``MOST_KNOTS`` of them, the least and the largest included."""
    values = np.unique(widths)
    places = np.unique(np.linspace(0, len(values) - 1, MOST_KNOTS).round().astype(int))
    knots: NDArray[np.float64] = values[places]
    return knots


def _bilinear(knots: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, knots)``, how much each knot counts at each width: at most two do, and they add up to 1."""
    return np.stack([np.interp(widths, knots, row) for row in np.eye(len(knots))], -1)


def _terms(inputs: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones_like(inputs), inputs, outputs, inputs * outputs], -1)


def _law(
    inputs: NDArray[np.float64], outputs: NDArray[np.float64], ms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit the law's four coefficients, none negative, by least squares of relative errors."""
    terms = _terms(inputs, outputs) / ms[:, None]
    best, least = np.zeros(4), np.inf
    for choice in itertools.product((False, True), repeat=4):
        used = np.array(choice)
        numbers = np.zeros(4)
        numbers[used] = np.linalg.lstsq(terms[:, used], np.ones(len(ms)), rcond=None)[0]
        error = float(((terms @ numbers - 1) ** 2).sum())
        if numbers.min() >= 0 and numbers.max() > 0 and error < least - 1e-12:
            best, least = numbers, error
    return best


def _neighbours(rows: int, columns: int) -> NDArray[np.float64]:
    """A row for each pair of adjacent knots: the difference of their two unknowns."""
    places = np.arange(rows * columns).reshape(rows, columns)
    pairs = np.concatenate(
        [
            np.stack([places[:-1].ravel(), places[1:].ravel()], -1),
            np.stack([places[:, :-1].ravel(), places[:, 1:].ravel()], -1),
        ]
    )
    differences = np.zeros((len(pairs), rows * columns))
    differences[np.arange(len(pairs)), pairs[:, 0]] = 1
    differences[np.arange(len(pairs)), pairs[:, 1]] = -1
    return differences
