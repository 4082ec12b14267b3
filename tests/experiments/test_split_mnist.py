"""Split MNIST: its data, what is measured, and runs that go on where they were left."""

import gzip
import sys

import numpy as np
import pytest

from experiments import split_mnist
from experiments.data.mnist import load as load_mnist
from helpers import long_on_tensorflow

# Files of our own are not those of its authors.
pytestmark = pytest.mark.filterwarnings("ignore:.* is not the published file")


@pytest.fixture
def mnist(tmp_path):
    """Returns a directory with files like those of MNIST, of ten easy images each."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 50)):
        labels = np.arange(count, dtype="u1") % 10
        images = rng.integers(0, 60, (count, 28, 28)).astype("u1")
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            with gzip.open(tmp_path / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())
    return tmp_path


def test_mnist_from_the_files_of_its_authors(mnist):
    (x, y), (x_test, y_test) = load_mnist(mnist)
    assert x.shape == (200, 28, 28, 1)
    assert x_test.shape == (50, 28, 28, 1)
    assert x.max() == 1
    np.testing.assert_array_equal(y_test, np.arange(50) % 10)
    images, labels = split_mnist.of_task((x, y), 1)
    assert len(images) == len(labels) == 40
    np.testing.assert_array_equal(labels[:4], [0, 1, 0, 1])
    # The white rows of a three are below those of a two.
    assert images[labels == 1][:, 9 * 28].min() == 1
    assert images[labels == 0][:, 9 * 28].max() < 1


SMALL = ["--preset", "smoke", "--steps", "6", "--strength", "0.1"]


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("model", [long_on_tensorflow(name) for name in split_mnist.MODELS])
def test_a_run_that_was_killed_ends_as_one_that_was_not(model, tmp_path, monkeypatch):
    learner = split_mnist.Ours
    if model == "hypnettorch":
        pytest.importorskip("hypnettorch")
        from experiments.split_mnist_hypnettorch import Peer

        learner = Peer
    small = [*SMALL, "--model", model]
    whole = split_mnist.main([*small, "--out", str(tmp_path / "whole")])
    assert whole["parameters"] <= 88_542 < whole["generated"] == 88_802
    first, second = whole["history"]
    assert (first["step"], second["step"], whole["best_step"]) == (3, 6, 6)
    assert whole["test"]["learned"] == np.mean([first["learned"], second["learned"]])
    assert whole["validation"] == {"error": second["val_error"]}

    learn = learner.learn

    def dying(self, task, *arrays):
        learn(self, task, *arrays)
        if task == 1:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(learner, "learn", dying)
        with pytest.raises(KilledError):
            split_mnist.main([*small, "--out", str(tmp_path / "killed")])
    learned = []

    def counting(self, task, *arrays):
        learned.append(task)
        learn(self, task, *arrays)

    monkeypatch.setattr(learner, "learn", counting)
    again = split_mnist.main([*small, "--out", str(tmp_path / "killed")])
    assert learned == [1]
    assert again["history"][0] == first
    # What a hundred images are told is the same but for those on the edge.
    assert again["test"] == pytest.approx(whole["test"], abs=1)
    states = []
    for name in ("whole", "killed"):
        with np.load(tmp_path / name / "checkpoint.npz") as file:
            states.append([file[f"arr_{n}"] for n in range(len(file.files) - 1)])
    for one, other in zip(*states, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


class Told:
    """A learner that tells what it was made with."""

    def __init__(self, told):
        self.classes = told

    def logits(self, task, images):
        return np.eye(2)[self.classes[task][: len(images)]]


def test_errors_are_of_each_task_and_their_mean():
    images, labels = np.zeros((8, 28, 28, 1)), np.array([0, 1, 0, 1, 2, 3, 9, 9])
    learner = Told({0: np.array([0, 1, 1, 1]), 1: np.array([1, 0])})
    assert split_mnist.error(learner, (images, labels), 0) == 25
    assert split_mnist.error(learner, (images, labels), 1) == 100
    assert split_mnist.mean_error(learner, (images, labels), 2) == 62.5


def test_a_learner_sees_the_images_of_one_task_in_passes(tmp_path, monkeypatch):
    seen = []

    class Watched(split_mnist.Ours):
        def learn(self, task, images, labels):
            seen.append((images.reshape(len(images), -1), labels))

    monkeypatch.setattr(split_mnist, "Ours", Watched)
    more = ["--evaluate-every", "30", "--steps", "60", "--out", str(tmp_path)]
    split_mnist.main([*SMALL, *more])
    train, _ = split_mnist.mnist.bundled()
    for task, (images, labels) in enumerate(seen):
        known, digits = split_mnist.of_task([part[200:] for part in train], task)
        assert len(images) == len(labels) == 480 > len(known)
        first = np.unique(images[: len(known)], axis=0)
        np.testing.assert_array_equal(first, np.unique(known, axis=0))
        assert labels[: len(known)].sum() == digits.sum()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--steps", "18"], "--steps 18 are more than 5 tasks of --evaluate-every 3"),
        (["--model", "hypnettorch", "--jit-compile"], "has .* --no-jit-compile alone"),
        (["--model", "hypnettorch"], "--model hypnettorch needs .*hypnettorch==0.0.4"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path, monkeypatch, more, message):
    monkeypatch.setitem(sys.modules, "hypnettorch", None)
    monkeypatch.setitem(sys.modules, "hypnettorch.hnets", None)
    with pytest.raises(SystemExit, match=message):
        split_mnist.main(["--preset", "smoke", *more, "--out", str(tmp_path)])
