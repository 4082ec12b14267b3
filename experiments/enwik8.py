"""Characters of Wikipedia: Ha, Dai & Le, "HyperNetworks", section 4.4, A.3.4 and table 4.

Presets `paper` and `large` are rows of the table, that of the LSTM with `--recurrent-dropout 0`;
`small` is what a CPU can train.
"""

from typing import Any

from experiments.characters import SMOKE, train
from experiments.data import characters

PAPER = {
    "steps": 100_000,
    "evaluate_every": 1000,
    "batch_size": 128,
    "length": 250,
    "units": 1800,
    "hyper_units": 256,
    "embedding_dim": 64,
    "dropout": 0.0,
    "validation_characters": 500_000,
}
SMALL = {
    **PAPER,
    "steps": 4000,
    "evaluate_every": 500,
    "batch_size": 32,
    "length": 50,
    "units": 128,
    "hyper_units": 32,
    "embedding_dim": 4,
    "learning_rate": 0.003,
    "validation_characters": 100_000,
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": PAPER,
    "large": {
        **PAPER,
        "units": 2048,
        "hyper_units": 512,
        "length": 300,
        "recurrent_dropout": 0.15,
        "hyper_recurrent_dropout": 0.15,
    },
    "small": SMALL,
    "smoke": {**SMALL, **SMOKE},
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for. `smoke` reads the manual that comes with Python."""
    return train("enwik8", str(__doc__), PRESETS, characters.enwik8, arguments)


if __name__ == "__main__":
    main()
