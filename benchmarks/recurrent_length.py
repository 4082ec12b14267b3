"""(i) A training step of recurrent layers by the number of steps, against PyTorch's LSTM."""

from benchmarks.compare import Candidate
from benchmarks.recurrent import torch_trained, trained

# As in (g).
SIZES = {f"{steps} steps": (16, steps, 32, 128, 64, 4) for steps in (100, 500, 2000)}
REFERENCE = "torch LSTM"
CANDIDATES = {
    "ours": Candidate("tensorflow", trained(jit=False, hyper=True)),
    "ours, XLA": Candidate("tensorflow", trained(jit=True, hyper=True)),
    "ours, XLA, dropout": Candidate(
        "tensorflow", trained(jit=True, hyper=True, recurrent_dropout=0.1)
    ),
    "Keras LSTM": Candidate("tensorflow", trained(jit=False, hyper=False)),
    "Keras LSTM, XLA": Candidate("tensorflow", trained(jit=True, hyper=False)),
    REFERENCE: Candidate("torch", torch_trained(hyper=False)),
}
