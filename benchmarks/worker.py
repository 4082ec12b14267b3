"""One candidate in a process of its own: builds a step, then times it on request.

`python -m benchmarks.worker CASE SIZE CANDIDATE` reads a number of steps from each
line of its input and answers with the seconds that they took. Only one worker
runs at a time, all on the same cores, as many as there are threads. The line
`memory` is answered with the most memory that the process had, in MiB, beyond what
it had before it built the step.
"""

import importlib
import os
import resource
import sys
import time

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def environment(number: int) -> dict[str, str]:
    """Returns what limits every framework to a number of threads."""
    return {
        "OMP_NUM_THREADS": str(number),
        "TF_NUM_INTRAOP_THREADS": str(number),
        "TF_NUM_INTEROP_THREADS": str(number),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
        # XLA has as many threads as there are cores to run on.
        "XLA_FLAGS": ONE_THREAD if number == 1 else "",
    }


def threads() -> int:
    """Returns how many threads this process may have."""
    return int(os.environ["OMP_NUM_THREADS"])


def main(case: str, size: str, candidate: str) -> None:
    """Serves one candidate until its input ends."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads() :])
    # Libraries print while they are imported; the answers have this to themselves.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module = importlib.import_module(f"benchmarks.{case}")
    importlib.import_module(os.environ["KERAS_BACKEND"])
    importlib.import_module("keras")
    before = peak_memory()
    try:
        step = module.CANDIDATES[candidate].make(module.SIZES[size])
        for _ in range(3):
            step()
    except Exception as error:
        # What a framework cannot do is a result, too.
        lines = [line.strip() for line in str(error).splitlines()]
        # TensorFlow ends its messages with the node they are about.
        told = [line for line in lines if line and not line.startswith("[[")]
        answers.write(f"{type(error).__name__}: {(told or ['no message'])[-1]}\n")
        raise
    answers.write("ready\n")
    for line in sys.stdin:
        if line == "memory\n":
            answers.write(f"{peak_memory() - before}\n")
            continue
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        answers.write(f"{time.perf_counter() - start}\n")


def peak_memory() -> float:
    """Returns the most memory that this process had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
