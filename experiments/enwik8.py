"""Characters of Wikipedia: Ha, Dai & Le, "HyperNetworks", section 4.4, A.3.4 and table 4.

Presets `paper` and `large` are rows of the table; `small` is what a CPU can train.
"""

from typing import Any

from experiments.characters import CharacterConfig, task
from experiments.config import parse
from experiments.data import characters
from experiments.training import run

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
    "smoke": {
        **SMALL,
        "steps": 6,
        "evaluate_every": 2,
        "units": 16,
        "hyper_units": 8,
        "batch_size": 8,
        "length": 10,
        "validation_characters": 2000,
    },
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for. `smoke` reads the manual that comes with Python."""
    prog = "python -m experiments.enwik8"
    config = parse(CharacterConfig, PRESETS, prog, str(__doc__), arguments)

    def text() -> characters.Text:
        if config.preset == "smoke" and config.data_dir is None:
            return characters.bundled()
        return characters.enwik8(config.data_dir)

    return run("enwik8", config, lambda config: task(config, text()))


if __name__ == "__main__":
    main()
