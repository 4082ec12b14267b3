"""Characters of Penn Treebank: Ha, Dai & Le, "HyperNetworks", section 4.3, A.3.3 and table 3.

Presets `paper`, `large_embedding` and `two_layers` are the rows of the table; `small` is what a CPU
can train, and `equal_parameters` the same with as many units as make all models of one size.
"""

from typing import Any

from experiments.characters import SMOKE, train
from experiments.data import characters

PAPER = {"steps": 40_000, "evaluate_every": 500, "batch_size": 128, "length": 100, "units": 1000}
SMALL = {
    "steps": 4000,
    "evaluate_every": 500,
    "batch_size": 32,
    "length": 50,
    "units": 128,
    "hyper_units": 32,
    "learning_rate": 0.003,
    "validation_characters": 100_000,
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": PAPER,
    "large_embedding": {
        **PAPER,
        "embedding_dim": 16,
        "dropout": 0.15,
        "recurrent_dropout": 0.15,
    },
    "two_layers": {
        **PAPER,
        "depth": 2,
        "embedding_dim": 16,
        "dropout": 0.2,
        "recurrent_dropout": 0.2,
    },
    "small": SMALL,
    # Those of an LN-HyperLSTM with the units of `small`.
    "equal_parameters": {**SMALL, "parameters": 134_500},
    "smoke": {**SMALL, **SMOKE},
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for. `smoke` reads the manual that comes with Python."""
    return train("ptb_char", str(__doc__), PRESETS, characters.penn_treebank, arguments)


if __name__ == "__main__":
    main()
