"""Split MNIST by hypnettorch, in the setting and with the helpers of its own example.

`python -m experiments.split_mnist_hypnettorch --data DIRECTORY --out results.json`, to put
beside `experiments.split_mnist`: the same data, batches and updates. Needs hypnettorch 0.0.4.
"""

import statistics
import sys
import time
from typing import Any

import numpy as np

from experiments.split_mnist import TASKS, batches, command_line, digits, run_all
from experiments.sweeps import save


def main() -> int:
    """Runs what the command line asks for."""
    parser = command_line("split_mnist_hypnettorch", rate=1e-4)
    return run_all(parser.parse_args(), ("updates", "batch", "rate"), run)


def run(report: dict[str, Any], arguments: Any, data: Any, strength: float, seed: int) -> None:
    """Trains all tasks one after the other and tests them, unless the report has it."""
    key = {"strength": strength, "seed": seed}
    if any(key.items() <= r.items() for r in report["runs"]):
        return
    import torch

    np.int = int  # Gone from NumPy since this package was written.
    from hypnettorch.hnets import ChunkedHMLP
    from hypnettorch.mnets import MLP
    from hypnettorch.utils import hnet_regularizer

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    target = MLP(n_in=784, n_out=2, hidden_layers=[100, 100], no_weights=True, verbose=False)
    hyper = ChunkedHMLP(
        target.param_shapes,
        750,
        chunk_emb_size=8,
        layers=(100, 100),
        cond_in_size=8,
        num_cond_embs=len(TASKS),
        verbose=False,
    )

    def accuracy(task: int) -> float:
        x, y = digits(data[1], task)
        with torch.no_grad():
            told = target.forward(torch.tensor(x), weights=hyper.forward(cond_id=task))
        return 100 * float((told.argmax(dim=1).numpy() == y).mean())

    learned, start = [], time.perf_counter()
    for task in range(len(TASKS)):
        x, y = digits(data[0], task)
        chosen = batches(rng, len(x), arguments.updates, arguments.batch)
        optimizer = torch.optim.Adam(hyper.parameters(), arguments.rate)
        regularized = task > 0 and strength > 0
        kept = hnet_regularizer.get_current_targets(task, hyper) if regularized else None
        for rows in chosen.reshape(-1, arguments.batch):
            optimizer.zero_grad()
            outputs = target.forward(torch.tensor(x[rows]), weights=hyper.forward(cond_id=task))
            labels = torch.tensor(y[rows]).long()
            loss = torch.nn.functional.cross_entropy(outputs, labels)
            if regularized:
                drift = hnet_regularizer.calc_fix_target_reg(hyper, task, targets=kept, mnet=target)
                loss = loss + strength * drift
            loss.backward()
            optimizer.step()
        learned.append(accuracy(task))
    seconds = time.perf_counter() - start
    final = [accuracy(task) for task in range(len(TASKS))]
    result = {
        **key,
        "parameters": sum(p.numel() for p in hyper.parameters()),
        "generated": sum(int(np.prod(shape)) for shape in target.param_shapes),
        "learned": learned,
        "final": final,
        "mean": statistics.mean(final),
        "seconds": round(seconds, 1),
    }
    report["runs"].append(result)
    save(arguments.out, report)
    print(result, flush=True)


if __name__ == "__main__":
    sys.exit(main())
