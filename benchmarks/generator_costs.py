"""`python -m benchmarks.generator_costs`: what generators store, compute and keep.

Nothing is timed: operations are those of XLA's cost analysis before it optimises, memory is what
XLA reserves for a step of training on a CPU. Needs `KERAS_BACKEND=jax`.
"""

import argparse
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

CONDITION = 16
PLAIN = "stored kernel"


def generators(spatial: tuple[int, ...]) -> dict[str, Callable[[], dict[str, Any]]]:
    """Returns the arguments of a layer, by name, for kernels of a spatial size."""
    from keras_hyper import (
        ChunkedGenerator,
        LinearGenerator,
        LowRankGenerator,
        MLPGenerator,
        TemplateGenerator,
        TiledKernelGenerator,
    )

    tile = (*spatial, 16, 16)
    shown = " x ".join(map(str, tile))
    return {
        f"`TiledKernelGenerator`, {shown} from 16": lambda: {
            "generator": TiledKernelGenerator(tile, embedding_dim=16)
        },
        "`ChunkedGenerator`, 256 from 32": lambda: {
            "generator": ChunkedGenerator(256, hidden_units=(32,), embedding_dim=16)
        },
        "`LowRankGenerator`, rank 8": lambda: {"generator": LowRankGenerator(8)},
        "`TemplateGenerator`, 4": lambda: {"generator": TemplateGenerator(4)},
        "`LinearGenerator`, from 8": lambda: {"generator": LinearGenerator(embedding_dim=8)},
        "`MLPGenerator`, from 16": lambda: {"generator": MLPGenerator((16,), embedding_dim=8)},
        '`composition="scale"`': lambda: {"composition": "scale"},
    }


def layers() -> dict[str, tuple[Any, Any, tuple[int, ...], tuple[int, ...]]]:
    """Returns for each layer its plain and its generated form, its inputs and its spatial size."""
    import keras

    from keras_hyper import HyperConv2D, HyperDense

    def conv(cls: Any) -> Callable[..., Any]:
        return lambda **kwargs: cls(64, 3, padding="same", use_bias=False, **kwargs)

    def dense(cls: Any) -> Callable[..., Any]:
        return lambda **kwargs: cls(256, use_bias=False, **kwargs)

    return {
        "dense, 256 to 256, batch 32": (
            dense(keras.layers.Dense),
            dense(HyperDense),
            (32, 256),
            (),
        ),
        "convolution, 3 x 3, 64 to 64, 16 x 16, batch 32": (
            conv(keras.layers.Conv2D),
            conv(HyperConv2D),
            (32, 16, 16, 64),
            (3, 3),
        ),
    }


def costs(layer: Any, inputs: tuple[int, ...], condition: tuple[int, ...] | None) -> dict[str, Any]:
    """Returns what one layer stores, computes forward, and keeps in a step of training."""
    import jax
    import keras
    import numpy as np

    x = np.ones(inputs, "float32")
    context = () if condition is None else (np.ones(condition, "float32"),)
    layer.build(inputs, *(() if condition is None else (condition,)))
    variables = layer.trainable_variables

    def forward(values: Any, x: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return layer(x, *context)

    def loss(values: Any, x: Any) -> Any:
        return keras.ops.mean(keras.ops.square(forward(values, x)))

    values = [v.value for v in variables]
    step = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(values, x).compile()
    return {
        "stored": sum(math.prod(v.shape) for v in variables),
        "operations": jax.jit(forward).lower(values, x).cost_analysis()["flops"],
        "bytes": step.memory_analysis().temp_size_in_bytes,
    }


def measure() -> dict[str, Any]:
    """Returns the costs of every generator in every layer, static and for each sample."""
    found: dict[str, Any] = {}
    for name, (plain, hyper, inputs, spatial) in layers().items():
        rows: dict[str, Any] = {PLAIN: {"static": costs(plain(), inputs, None)}}
        for generator, arguments in generators(spatial).items():
            rows[generator] = {
                "static": costs(hyper(**arguments()), inputs, None),
                "each sample": costs(hyper(**arguments()), inputs, (inputs[0], CONDITION)),
            }
        found[name] = rows
    return found


def table(found: dict[str, Any]) -> list[str]:
    """Returns the tables, in Markdown."""
    lines = []
    for name, rows in found.items():
        plain = rows[PLAIN]["static"]

        def cells(row: dict[str, Any], kind: str, plain: Any = plain) -> list[str]:
            if kind not in row:
                return ["", "", ""]
            shares = [f"{row[kind][what] / plain[what]:.2f}" for what in ("stored", "operations")]
            return [*shares, f"{row[kind]['bytes'] / 2**20:.1f}"]

        lines += [
            f"| {name} | stored | operations | memory, MiB "
            "| for each sample: stored | operations | memory, MiB |",
            "|---|---|---|---|---|---|---|",
        ]
        for generator, row in rows.items():
            values = cells(row, "static") + cells(row, "each sample")
            lines.append(f"| {generator} | {' | '.join(values)} |")
        lines += [""]
    return lines


def main() -> None:
    """Writes what it finds, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("generator_costs.json"))
    arguments = parser.parse_args()
    found = measure()
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
