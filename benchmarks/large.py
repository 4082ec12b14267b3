"""Weights of very many numbers: their variance, and the memory that making them takes.

    python benchmarks/large.py --numbers 1e8

For each generator a kernel of that many numbers is made in a process of its own,
compiled by XLA or not, without and with the gradients of its variables. Printed
are its standard deviation over the one that its initializer asks for, and the largest
memory of the process, less what it had before, in sizes of the kernel.
"""

import argparse
import gc
import math
import os
import pathlib
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
# By name: what makes it, given the package, which only the processes import.
GENERATORS: dict[str, Callable[[Any], Any]] = {
    "tiled, tile (64, 64)": lambda kh: kh.TiledKernelGenerator((64, 64), embedding_dim=16),
    "tiled, tile (8, 4)": lambda kh: kh.TiledKernelGenerator((8, 4), embedding_dim=8),
    "chunked, 5,000 from 32": lambda kh: kh.ChunkedGenerator(5000, (32,)),
    "chunked, 50 from 64": lambda kh: kh.ChunkedGenerator(50, (64,)),
    "low rank, 16": lambda kh: kh.LowRankGenerator(16),
}


def largest() -> int:
    """Returns the most memory that this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(name: str, rows: int, columns: int, compiled: bool, gradients: bool) -> None:
    """Makes one kernel and prints its two figures."""
    import tensorflow as tf

    import keras_hyper

    generator = GENERATORS[name](keras_hyper)
    generated = keras_hyper.GeneratedWeight(generator, (rows, columns), "he_normal")
    generated.build(None)

    @tf.function(jit_compile=compiled)
    def step():
        with tf.GradientTape() as tape:
            mean_square = tf.reduce_mean(tf.square(generated()))
        variables = [v.value for v in generated.trainable_variables]
        return mean_square, tape.gradient(mean_square, variables) if gradients else ()

    gc.collect()
    before = largest()
    mean_square = float(step()[0])
    kernel = 4 * rows * columns
    std = math.sqrt(mean_square / (2 / rows))
    print(f"{std:.4f} {(largest() - before) / kernel:.2f}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", type=float, default=1e8)
    rows = columns = math.isqrt(int(parser.parse_args().numbers))
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    print(f"a kernel of {rows:,} x {columns:,}; peak memory in kernels\n")
    print(f"{'':28}{'std over the right one,':>24}{'forward':>16}{'with gradients':>16}")
    print(f"{'generator':28}{'of four draws':>24}" + 2 * f"{'plain':>8}{'XLA':>8}")
    for name in GENERATORS:
        stds, peaks = [], []
        for gradients in (False, True):
            for compiled in (False, True):
                call = f"measure({name!r}, {rows}, {columns}, {compiled}, {gradients})"
                program = f"from benchmarks.large import measure; {call}"
                answer = subprocess.run(
                    [sys.executable, "-c", program],
                    cwd=ROOT,
                    env=env,
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                ).stdout
                std, peak = map(float, answer.split()[-2:])
                stds.append(std)
                peaks.append(peak)
        spread = f"{min(stds):.3f} ... {max(stds):.3f}"
        print(f"{name:28}{spread:>24}" + "".join(f"{p:8.1f}" for p in peaks), flush=True)


if __name__ == "__main__":
    main()
