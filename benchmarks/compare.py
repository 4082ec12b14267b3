"""Times candidates side by side: alternately, in one run, each in its own process."""

import dataclasses
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.worker import environment
from tooling.machine import ROOT, commit, cpu, versions

LEAST_SECONDS = 0.5  # How long one measurement lasts at least.
PACKAGES = (
    "keras",
    "keras-hub",
    "tensorflow-cpu",
    "tensorflow",
    "jax",
    "torch",
    "hypnettorch",
    "labml-nn",
    "hyper-nn",
    "numpy",
)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to do the same work.

    Attributes:
        backend: What Keras runs on in its process.
        make: Called with a size, returns a function that does one step.
        operations: None, or how many multiplications and additions a step of a size takes.
    """

    backend: str
    make: Callable[[Any], Callable[[], Any]]
    operations: Callable[[Any], float] | None = None


class CandidateError(Exception):
    """Says why a candidate cannot do the work."""


class Worker:
    """A process that runs one candidate."""

    def __init__(self, case: str, size: str, name: str, backend: str, threads: int) -> None:
        env = {**os.environ, **environment(threads), "KERAS_BACKEND": backend}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", case, size, name],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "BENCHMARK_LOG" in os.environ else subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self.steps = 1
        ready = self._answer()
        if ready != "ready":
            raise CandidateError(ready)
        while self._seconds() < LEAST_SECONDS:
            self.steps *= 2

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"{' '.join(self.process.args)} ended; BENCHMARK_LOG=1 shows its output."
            )
        return line.strip()

    def _seconds(self) -> float:
        self.process.stdin.write(f"{self.steps}\n")
        return float(self._answer())

    def time(self) -> float:
        """Returns the seconds of one step."""
        return self._seconds() / self.steps

    def memory(self) -> float:
        """Returns the most memory that it had, in MiB, beyond that of the frameworks."""
        self.process.stdin.write("memory\n")
        return float(self._answer())

    def stop(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def compare(
    case: str,
    size: str,
    value: Any,
    candidates: dict[str, Candidate],
    references: Mapping[str, Sequence[str]],
    pairs: int,
    threads: int,
) -> list[dict[str, Any]]:
    """Returns the times of all candidates, and their ratios to others.

    Args:
        case: Name of a module of this package.
        size: Name of one of its sizes.
        value: That size.
        candidates: By name.
        references: For each candidate those whose total time its own is divided by.
        pairs: How often each is measured, in turn.
        threads: How many threads each may have.
    """
    results: list[dict[str, Any]] = []
    for names in groups(candidates, references):
        some = {name: candidates[name] for name in names}
        results += _compare_group(case, size, value, some, references, pairs, threads)
    return results


def groups(names: Iterable[str], references: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Returns the candidates in groups that are not compared with each other.

    Only those of one group have processes at a time.
    """
    found: list[list[str]] = []
    for name in names:
        linked = {name, *references.get(name, ())}
        near = [group for group in found if linked & {*group, *_others(group, references)}]
        found = [group for group in found if group not in near]
        found.append([*(member for group in near for member in group), name])
    return found


def _others(group: Sequence[str], references: Mapping[str, Sequence[str]]) -> list[str]:
    return [other for name in group for other in references.get(name, ())]


def _compare_group(
    case: str,
    size: str,
    value: Any,
    candidates: Mapping[str, Candidate],
    references: Mapping[str, Sequence[str]],
    pairs: int,
    threads: int,
) -> list[dict[str, Any]]:
    """Returns what `compare` does, for candidates that are compared with each other."""
    workers: dict[str, Worker] = {}
    results: list[dict[str, Any]] = []
    try:
        for name, candidate in candidates.items():
            try:
                workers[name] = Worker(case, size, name, candidate.backend, threads)
            except CandidateError as error:
                failed = {"benchmark": case, "size": size, "candidate": name}
                results.append({**failed, "error": str(error)})
        rounds = [{name: worker.time() for name, worker in workers.items()} for _ in range(pairs)]
        memory = {name: worker.memory() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.stop()
    for name in workers:
        operations = candidates[name].operations
        others = references.get(name, (name,))
        if not workers.keys() >= {*others}:
            others = (name,)  # There is nothing to compare with.
        ratios = [times[name] / sum(times[other] for other in others) for times in rounds]
        results.append(
            {
                "benchmark": case,
                "size": size,
                "candidate": name,
                "reference": " + ".join(others),
                "milliseconds": [round(1000 * times[name], 4) for times in rounds],
                "median_milliseconds": 1000 * statistics.median(t[name] for t in rounds),
                "ratios": [round(ratio, 4) for ratio in ratios],
                "median_ratio": statistics.median(ratios),
                "peak_mebibytes": round(memory[name]),
                **({"operations": operations(value)} if operations else {}),
            }
        )
    return results


def about(command: Sequence[str], pairs: int, threads: int) -> dict[str, Any]:
    """Returns what a reader needs to know of a run."""
    return {
        "schema": 1,
        "command": shlex.join(command),
        "commit": commit(),
        "cpu": cpu(),
        "threads": threads,
        "pairs": pairs,
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
    }


def write(path: pathlib.Path, results: dict[str, Any]) -> None:
    """Writes results to a temporary name and renames it."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    temporary.replace(path)
