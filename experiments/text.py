"""Characters of any text: the models of `experiments.ptb_char` on a file of your own.

Without `--text` it reads the manual that comes with Python. 90% of the text are learned from, 5%
decide, 5% are reported on. Preset `starts` is to compare first weights of the hyper cell
(`--initialization`, `--embedding-dim`).
"""

import dataclasses
import pathlib
from typing import Any

from experiments.characters import SMOKE, CharacterConfig, task
from experiments.config import option, parse
from experiments.data import characters
from experiments.training import run


@dataclasses.dataclass(frozen=True)
class TextConfig(CharacterConfig):
    """What is special about it."""

    text: pathlib.Path | None = option(None, "a text in UTF-8; else Python's own manual")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_dir is not None:
            raise SystemExit(f"--data-dir {self.data_dir} is not read here: name a file by --text.")

    @property
    def setting(self) -> dict[str, Any]:
        """What decides the result: of the text, its name."""
        return {**super().setting, "text": self.text.name if self.text else "pydoc_data.topics"}


SMALL = {
    "steps": 1000,
    "evaluate_every": 250,
    "batch_size": 32,
    "length": 50,
    "parameters": 60_000,
    "hyper_units": 32,
    "learning_rate": 0.01,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
}
PRESETS: dict[str, dict[str, Any]] = {
    "small": SMALL,
    # For a table of its own.
    "starts": {**SMALL, "model": "LN-HyperLSTM"},
    "smoke": {**SMALL, **SMOKE, "parameters": 12_000},
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for."""
    prog = "python -m experiments.text"
    config = parse(TextConfig, PRESETS, prog, str(__doc__), arguments)
    text = characters.bundled() if config.text is None else characters.text_file(config.text)
    return run("text", config, lambda config: task(config, text))


if __name__ == "__main__":
    main()
