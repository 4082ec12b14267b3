"""One candidate in a process of its own: builds a step, then times it on request.

`python -m benchmarks.worker CASE SIZE CANDIDATE` reads a number of steps from each
line of its input and answers with the seconds that they took. Only one worker
runs at a time, all on the same core, so that every framework has one thread.
"""

import importlib
import os
import sys
import time

CORE = max(os.sched_getaffinity(0))
THREADS = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "CUDA_VISIBLE_DEVICES": "-1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def main(case: str, size: str, candidate: str) -> None:
    """Serves one candidate until its input ends."""
    os.sched_setaffinity(0, {CORE})
    # Libraries print while they are imported; the answers have this to themselves.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module = importlib.import_module(f"benchmarks.{case}")
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
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        answers.write(f"{time.perf_counter() - start}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
