"""The tables and curves of results: `python -m experiments.report docs/results --write docs`.

Reads the `result.json` of runs (files, or folders with such files below them), and prints tables in
Markdown: a row for all runs that differ in nothing but the seed. With `--write` the table of each
experiment and preset goes into `results.md` of that folder, between its two marks there, and the
learning curves beside it. Of several learning rates of a network the best on the validation data,
among those with the most seeds, is set in bold, and the curves are of that one.
"""

import argparse
import json
import pathlib
import re
import statistics
from collections.abc import Sequence
from typing import Any

from experiments import recurrent, split_mnist
from keras_hyper.utils.files import replacing

MARKS = ("<!-- experiments.report: {name} -->", "<!-- end of {name} -->")
CHOSEN = """\
Bold: of several learning rates the best on the validation data, among those with the most seeds.
The curves of the others are left out."""
UNITS = {
    "error": "test error, %",
    "learned": "error right after its own task, %",
    "bits": "bits per character, test",
    "nats": "nats of a line, validation",
    "perplexity": "perplexity of a word, test",
    "bleu": "BLEU, test",
    "effective_rank": "effective rank of the scales",
}
DIGITS = {
    "error": 2,
    "learned": 2,
    "bits": 3,
    "nats": 1,
    "perplexity": 2,
    "bleu": 2,
    "effective_rank": 2,
}
TITLES = {
    "mnist_static": "MNIST with a generated kernel",
    "split_mnist": "Split MNIST, five tasks one after the other",
    "cifar10_wrn": "Wide residual networks on CIFAR-10",
    "ptb_char": "Characters of Penn Treebank",
    "enwik8": "Characters of Wikipedia",
    "text": "Characters of a text",
    "handwriting": "Handwriting",
    "translation": "Translation",
}
# In which order they are shown.
MODELS = ("ordinary", "generated", *recurrent.MODELS, *split_mnist.MODELS)
# What the paper has (tables 2 to 7), at its own size: by experiment and model, with the preset
# where that is a row of its own.
PAPER = {
    ("mnist_static", "ordinary"): "0.72",
    ("mnist_static", "generated"): "0.76",
    ("cifar10_wrn", "ordinary"): "6.73 (WRN 40-1)",
    ("cifar10_wrn", "generated"): "8.02 (WRN 40-1)",
    ("ptb_char", "LSTM"): "1.312",
    ("ptb_char", "LN-LSTM"): "1.267",
    ("ptb_char", "HyperLSTM"): "1.265",
    ("ptb_char", "LN-HyperLSTM"): "1.250",
    ("ptb_char", "LN-HyperLSTM, large_embedding"): "1.233",
    ("ptb_char", "LN-HyperLSTM, 2 layers"): "1.219",
    ("enwik8", "LSTM"): "1.470 (no dropout)",
    ("enwik8", "LN-LSTM"): "1.402",
    ("enwik8", "HyperLSTM"): "1.391",
    ("enwik8", "LN-HyperLSTM"): "1.353",
    ("enwik8", "LN-HyperLSTM, large"): "1.340",
    ("handwriting", "LSTM"): "-1055",
    ("handwriting", "LN-LSTM"): "-1096",
    ("handwriting", "HyperLSTM"): "-1162",
    ("handwriting", "LN-HyperLSTM"): "-1067",
    ("translation", "LSTM"): "BLEU 38.95 (WMT'14)",
    ("translation", "LN-HyperLSTM"): "BLEU 40.03 (WMT'14)",
}


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("results", nargs="+", type=pathlib.Path, metavar="FILE_OR_FOLDER")
    parser.add_argument("--write", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    groups = grouped(read(arguments.results))
    if arguments.write is None:
        print("\n".join(table(name, rows) for name, rows in groups.items()), end="")
        return
    page = arguments.write / "results.md"
    text = page.read_text()
    for name, rows in groups.items():
        text = inserted(text, name, table(name, rows))
    with replacing(page) as temporary:
        temporary.write_text(text)
    for name, rows in groups.items():
        curves(rows, arguments.write / f"results_{name}.svg")


def inserted(page: str, name: str, text: str) -> str:
    """Returns a page with a text between the two marks of a name."""
    begin, end = (mark.format(name=name) for mark in MARKS)
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"The page has no {begin} and {end} to write between.")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def read(paths: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Returns the results in files, and in folders."""
    files = [f for p in paths for f in (sorted(p.rglob("*.json")) if p.is_dir() else [p])]
    found = [json.loads(file.read_text()) for file in files]
    found = [r for r in found if isinstance(r, dict) and {"experiment", "history"} <= r.keys()]
    if not found:
        raise SystemExit(f"There are no results in {', '.join(map(str, paths))}.")
    return found


def grouped(results: list[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Returns results by experiment and preset, and in these by what else they differ in."""
    groups: dict[str, Any] = {}
    for result in sorted(results, key=_place):
        name = f"{result['experiment']}_{result['setting']['preset']}"
        groups.setdefault(name, []).append(result)
    return {name: _rows(group) for name, group in groups.items()}


def _place(result: dict[str, Any]) -> tuple[Any, ...]:
    setting = result["setting"]
    rest = [setting[n] for n in sorted(setting) if n not in ("model", "preset")]
    # Numbers by their size; what is of different kinds cannot be compared.
    rest = [(type(value).__name__, value) for value in rest]
    return (
        list(TITLES).index(result["experiment"]),
        setting["preset"],
        MODELS.index(setting["model"]),
        rest,
    )


def _rows(group: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    settings = [r["setting"] for r in group]
    names = [n for n in settings[0] if n not in ("seed", "model")]
    different = [n for n in names if len({json.dumps(s.get(n)) for s in settings}) > 1]
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in group:
        setting = result["setting"]
        more = [f"{name.replace('_', ' ')} {setting[name]}" for name in different]
        row = rows.setdefault(", ".join([setting["model"], *more]), [])
        if any(r["setting"]["seed"] == setting["seed"] for r in row):
            raise SystemExit(f"There are two runs of {row[0]['command']}: keep one.")
        row.append(result)
    return rows


def table(name: str, rows: dict[str, list[dict[str, Any]]]) -> str:
    """Returns a table, with what a reader needs to repeat it."""
    runs = [r for row in rows.values() for r in row]
    setting = runs[0]["setting"]
    figures = [f for f in UNITS if any(f in r["test"] for r in runs)]
    head = ["", "parameters", "seeds", *(UNITS[f] for f in figures)]
    head += ["validation", "after step", "minutes"]
    papers = [_paper(results[0]) for results in rows.values()]
    if any(papers):
        head.append("the paper")
    bold = {group[0] for group in by_rates(rows) if len(group) > 1}
    lines = [
        f"## {TITLES[runs[0]['experiment']]}, preset `{setting['preset']}`",
        "",
        f"{setting['steps']:,} updates with {setting['batch_size']} samples. {_machine(runs)}",
        "",
        "```",
        *_commands(runs),
        "```",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for (label, results), paper in zip(rows.items(), papers, strict=True):
        one = results[0]
        monitor = next(iter(one["validation"]))
        shown = f"**{label}**" if label in bold else label
        cells = [shown, f"{one['parameters']:,}", len(results)]
        for figure in figures:
            values = [r["test"][figure] for r in results if figure in r["test"]]
            cells.append(_spread(values, DIGITS[figure]) if values else "")
        best = [r["validation"][monitor] for r in results]
        cells += [
            _spread(best, DIGITS[monitor]),
            f"{statistics.mean(r['best_step'] for r in results):,.0f}",
            f"{statistics.mean(r['seconds'] for r in results) / 60:.0f}",
            *([paper] if any(papers) else []),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    if bold:
        lines += ["", CHOSEN]
    lines += ["", f"![Learning curves](results_{name}.svg)", ""]
    return "\n".join(lines)


def by_rates(rows: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    """Returns the labels of rows in groups that differ in the learning rate alone.

    In a group those with the most seeds come first, and of these the one with the lowest mean in
    validation: all that is measured there is better when it is smaller.
    """
    groups: dict[str, list[tuple[int, float, str]]] = {}
    for label, results in rows.items():
        setting = results[0]["setting"]
        rest = {k: v for k, v in setting.items() if k not in ("learning_rate", "seed")}
        mean = statistics.mean(next(iter(r["validation"].values())) for r in results)
        place = (-len(results), mean, label)
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(place)
    return [[label for *_, label in sorted(group)] for group in groups.values()]


def _paper(result: dict[str, Any]) -> str:
    setting = result["setting"]
    layers = setting.get("depth", 1)
    model = setting["model"] + (f", {layers} layers" if layers > 1 else "")
    names = [f"{model}, {setting['preset']}", model]
    return next((PAPER[key] for n in names if (key := (result["experiment"], n)) in PAPER), "")


def _commands(runs: list[dict[str, Any]]) -> list[str]:
    """Returns the commands, one for all seeds."""
    found = {re.sub(r" --seed \d+", "", r["command"]): None for r in runs}
    # A text of one's own is in the command.
    data = "" if runs[0]["experiment"] == "text" else " --data-dir DIR"
    return [f"{command}{data} --seed N" for command in found]


def _machine(runs: list[dict[str, Any]]) -> str:
    places = []
    for cpu in dict.fromkeys(r["cpu"] for r in runs):
        told = [r["commit"] or "unknown" for r in runs if r["cpu"] == cpu]
        places.append(f"{cpu}, commit {', '.join(dict.fromkeys(told))}")
    versions = dict.fromkeys(f"{k} {v}" for r in runs for k, v in r["versions"].items())
    return f"{'; '.join(places)}; {', '.join(versions)}."


def _spread(values: Sequence[float], digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def curves(rows: dict[str, list[dict[str, Any]]], path: pathlib.Path) -> None:
    """Draws the validation figure of a group's runs at the best rates, over their updates."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = {group[0]: rows[group[0]] for group in by_rates(rows)}
    figure = Figure(figsize=(7, 4 + 0.2 * len(rows)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for n, (label, results) in enumerate(rows.items()):
        for k, result in enumerate(results):
            monitor = next(iter(result["validation"]))
            steps = [line["step"] for line in result["history"]]
            values = [line[f"val_{monitor}"] for line in result["history"]]
            # Ten colours, and the same ones dashed.
            style = {"color": f"C{n % 10}", "linestyle": "-" if n < 10 else "--", "alpha": 0.8}
            axes.plot(steps, values, label=label if not k else None, **style)
    axes.set_xlabel("updates")
    axes.set_ylabel(UNITS[monitor].replace("test", "validation"))
    figure.legend(loc="outside lower center", fontsize="small")
    axes.grid(alpha=0.3)
    # No time of drawing, and no random names: the same results, the same file.
    with rc_context({"svg.hashsalt": path.stem}), replacing(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})


if __name__ == "__main__":
    main()
