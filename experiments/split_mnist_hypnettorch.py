"""Split MNIST by hypnettorch 0.0.4, with the helpers of its own example."""

import numpy as np

from experiments.split_mnist import TASKS, SplitMnistConfig


class Peer:
    """hypnettorch, which needs PyTorch."""

    packages = ("hypnettorch", "torch")

    def __init__(self, config: SplitMnistConfig) -> None:
        if config.precision != "float32" or config.jit_compile:
            raise SystemExit(
                "--model hypnettorch has --precision float32 and --no-jit-compile alone."
            )
        try:
            np.int = int  # Gone from NumPy since this package was written.
            import torch
            from hypnettorch.hnets import ChunkedHMLP
            from hypnettorch.mnets import MLP
        except ImportError as missing:
            raise SystemExit(
                "--model hypnettorch needs `python -m pip install hypnettorch==0.0.4 torch "
                f"torchvision`: {missing}"
            ) from missing
        torch.manual_seed(config.seed)
        self.config = config
        self.target = MLP(
            n_in=784, n_out=2, hidden_layers=[100, 100], no_weights=True, verbose=False
        )
        self.hyper = ChunkedHMLP(
            self.target.param_shapes,
            750,
            chunk_emb_size=8,
            layers=(100, 100),
            cond_in_size=8,
            num_cond_embs=len(TASKS),
            verbose=False,
        )
        self.parameters = sum(p.numel() for p in self.hyper.parameters())
        self.generated = sum(int(np.prod(shape)) for shape in self.target.param_shapes)

    def learn(self, task: int, images: np.ndarray, labels: np.ndarray) -> None:
        """Learns from images, in batches of the configuration, in their order."""
        import torch
        from hypnettorch.utils import hnet_regularizer

        optimizer = torch.optim.Adam(self.hyper.parameters(), self.config.learning_rate)
        regularized = task > 0 and self.config.strength > 0
        kept = hnet_regularizer.get_current_targets(task, self.hyper) if regularized else None
        size = self.config.batch_size
        for start in range(0, len(images), size):
            x, y = (torch.tensor(part[start : start + size]) for part in (images, labels))
            optimizer.zero_grad()
            outputs = self.target.forward(x, weights=self.hyper.forward(cond_id=task))
            loss = torch.nn.functional.cross_entropy(outputs, y.long())
            if regularized:
                drift = hnet_regularizer.calc_fix_target_reg(
                    self.hyper, task, targets=kept, mnet=self.target
                )
                loss = loss + self.config.strength * drift
            loss.backward()
            optimizer.step()

    def logits(self, task: int, images: np.ndarray) -> np.ndarray:
        """Returns those of the two classes."""
        import torch

        with torch.no_grad():
            weights = self.hyper.forward(cond_id=task)
            return self.target.forward(torch.tensor(images), weights=weights).numpy()

    def state(self) -> list[np.ndarray]:
        """Returns all that is learned."""
        return [p.detach().numpy() for p in self.hyper.parameters()]

    def restore(self, state: list[np.ndarray]) -> None:
        """Goes on from it."""
        import torch

        with torch.no_grad():
            for parameter, array in zip(self.hyper.parameters(), state, strict=True):
                parameter.copy_(torch.tensor(array))
