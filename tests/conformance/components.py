"""The part of the table of conformance that has no inputs: generators, kernels, initializers."""

import numpy as np
from keras import ops

from conformance.descriptors import chunked, low_rank, mlp, templates, tiles
from keras_hyper import LinearGenerator, TiledKernelGenerator
from keras_hyper.generators import DirectGenerator
from keras_hyper.initializers import OrthogonalPerGate, UnitGainOrthogonal, UnitRMS
from keras_hyper.kernels import Full, LowRank, Mixture, Scaled, Sum

GENERATORS = {
    "linear": lambda: LinearGenerator(3, normalize_condition=False),
    "linear-native": lambda: LinearGenerator(3, initialization="native"),
    "mlp": mlp,
    "tiled": tiles,
    "tiled-paper": lambda: TiledKernelGenerator((3, 2), 3, hidden_dim=2, initialization="paper"),
    "direct": DirectGenerator,
    "chunked": chunked,
    "low-rank": low_rank,
    "templates": templates(),
    "templates-softmax": templates("softmax", temperature=0.5),
    "templates-sigmoid": templates("sigmoid", normalize_condition=False),
}
INITIALIZERS = {
    "unit-rms": UnitRMS,
    "unit-gain-orthogonal": UnitGainOrthogonal,
    "orthogonal-per-gate": lambda seed=None: OrthogonalPerGate(2, seed=seed),
}


def normal(*shape):
    """Returns numbers that depend on the shape alone."""
    values = np.random.default_rng(len(shape)).normal(size=shape)
    return ops.convert_to_tensor(values.astype("float32"))


# Weights of shape (8, 6), one for all samples or one for each of three.
KERNELS = {
    "full": lambda: Full(normal(8, 6), batched=False),
    "full-batched": lambda: Full(normal(3, 8, 6), batched=True),
    "mixture": lambda: Mixture(normal(2, 8, 6), normal(3, 2), normal(8, 6)),
    "low-rank": lambda: LowRank(normal(3, 8, 2), normal(3, 2, 6), (8, 6)),
    "sum": lambda: Sum(normal(8, 6), Full(normal(3, 8, 6), batched=True)),
    "sum-low-rank": lambda: Sum(normal(8, 6), LowRank(normal(3, 8, 1), normal(3, 1, 6), (8, 6))),
    "scaled": lambda: Scaled(normal(8, 6), normal(3, 1, 6)),
}
