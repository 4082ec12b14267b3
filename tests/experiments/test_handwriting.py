"""Handwriting: the density, the loss, samples and padding."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments import handwriting
from experiments.config import parse
from experiments.data import strokes
from helpers import to_numpy


def test_the_density_of_pen_movements_is_that_of_its_mixture(rng):
    outputs = rng.normal(size=(2, 3, 121)).astype("float32")
    targets = rng.normal(size=(2, 3, 4)).astype("float32")
    targets[..., 2] = rng.integers(2, size=(2, 3))
    targets[..., 3] = [[1, 1, 1], [1, 1, 0]]
    found = to_numpy(handwriting.nats(targets, keras.ops.convert_to_tensor(outputs)))
    for row, column in np.ndindex(2, 3):
        x, y, lifted, weight = targets[row, column].astype("float64")
        values = outputs[row, column, :-1].astype("float64").reshape(6, 20)
        chances = np.exp(values[0]) / np.exp(values[0]).sum()
        density = 0.0
        for n in range(20):
            deviations, r = np.exp(values[3:5, n]), 0.999 * np.tanh(values[5, n])
            covariance = np.outer(deviations, deviations) * [[1, r], [r, 1]]
            away = np.array([x, y]) - values[1:3, n]
            power = away @ np.linalg.inv(covariance) @ away
            normal = np.exp(-power / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
            density += chances[n] * normal
        pen = 1 / (1 + np.exp(-float(outputs[row, column, -1])))
        wanted = -weight * (np.log(density) + np.log(pen if lifted else 1 - pen))
        assert found[row, column] == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_the_figure_of_handwriting_is_the_sum_of_a_lines_points():
    config = parse(
        handwriting.HandwritingConfig, handwriting.PRESETS, "x", "y", ["--preset", "smoke"]
    )
    task = handwriting.task(dataclasses.replace(config, jit_compile=False))
    _, lines, _ = strokes.generated()
    totals = []
    for line in lines:
        # One by one, without anything to fill them up.
        targets = np.column_stack([line[1:], np.ones(len(line) - 1)])[None].astype("float32")
        outputs = keras.ops.convert_to_tensor(task.model.predict_on_batch(line[None, :-1]))
        each = to_numpy(handwriting.nats(targets, outputs))
        totals.append(each.sum(dtype="float64"))
        # What is trained on is their mean.
        found = to_numpy(handwriting.loss(targets, outputs))
        np.testing.assert_allclose(found, [each.mean(dtype="float64")], rtol=1e-4)
    assert task.validate()["nats"] == pytest.approx(np.mean(totals), rel=1e-4)


def test_points_are_drawn_from_the_same_mixture():
    outputs = np.zeros(121)
    outputs[0] = 30.0  # All weight on the first normal distribution,
    outputs[20], outputs[40] = 2.0, -1.0  # its means,
    outputs[60], outputs[80] = np.log(0.5), np.log(2.0)  # its deviations,
    outputs[100] = np.arctanh(0.6 / 0.999)  # its correlation,
    outputs[120] = np.log(0.2 / 0.8)  # and the pen.
    rng = np.random.default_rng(0)
    points = np.stack([handwriting.drawn(outputs, rng) for _ in range(4000)])
    np.testing.assert_allclose(points.mean(axis=0), [2.0, -1.0, 0.2], atol=0.1)
    np.testing.assert_allclose(points[:, :2].std(axis=0), [0.5, 2.0], rtol=0.05)
    assert np.corrcoef(points[:, 0], points[:, 1])[0, 1] == pytest.approx(0.6, abs=0.05)


def test_lines_are_filled_up_with_points_of_no_weight():
    lines = [np.arange(12, dtype="float32").reshape(4, 3), np.ones((3, 3), "float32")]
    x, y = handwriting.padded(lines, length=5)
    assert x.shape == (2, 5, 3)
    np.testing.assert_array_equal(y[..., 3], [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(x[0, 1:3], y[0, :2, :3])
    assert handwriting.padded(lines)[0].shape[1] == 100
