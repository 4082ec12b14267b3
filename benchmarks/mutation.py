"""Mutation score: how many random changes of single operators and numbers fail a test.

`tox run -e mutation`, or `python -m benchmarks.mutation SESSION`. Mutants and results are in
the file SESSION of cosmic-ray: a run that is interrupted continues, and `cr-report SESSION`
lists them. Each mutant is tested in a copy of the package, by a fork of a process that has
imported everything. It runs the tests that reach the changed lines, the quickest first, up to
10 seconds of CPU time. The score is therefore a lower bound.
"""

import argparse
import collections
import difflib
import gc
import inspect
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import coverage
import keras
import pytest
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

# What is changed, and the tests that run: layers and all below them, or whole models.
PARTS = {
    "layers": (
        ("generators", "kernels", "ops", "weights"),
        (
            "tests/kernels",
            "tests/ops",
            "tests/weights",
            "tests/generators",
            "tests/layers",
            "tests/conformance/test_components.py",
            "tests/conformance/test_saving.py",
            "tests/test_initializers.py",
            "tests/saving/test_sharing.py",
        ),
    ),
    "models": (
        ("application", "hypernetwork", "transforms"),
        ("tests/application", "tests/hypernetwork", "tests/transforms", "tests/saving"),
    ),
}
# Without doctests, which would skip a test file that cannot import the mutant.
OPTIONS = ("-xq", "--tb=line", "-pno:cacheprovider", "-oaddopts=--import-mode=importlib")
SECONDS = 10.0  # CPU time of the tests of one mutant, measured without the mutation.
TIMEOUT = 600.0
SKIPPED = WorkResult(worker_outcome=WorkerOutcome.SKIPPED)


def main() -> None:
    """Tests the mutants of a session that have no result, and prints the score."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("session", type=pathlib.Path, help="created if it does not exist")
    parser.add_argument("--part", choices=PARTS, default="layers", help="which packages")
    parser.add_argument("--sample", type=int, default=320, help="number of mutants")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the sample")
    parser.add_argument("--again", action="store_true", help="test the survivors again")
    arguments = parser.parse_args()
    session = arguments.session.absolute()
    packages, tests = PARTS[arguments.part]
    with tempfile.TemporaryDirectory() as copy, use_db(str(session)) as db:
        for name in ("keras_hyper", "tests", "docs"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(name, pathlib.Path(copy, name), ignore=ignored)
        shutil.copy("setup.cfg", copy)
        os.chdir(copy)
        sys.path.insert(0, copy)
        # Bytecode of a module would be used for a mutant of the same length and second.
        sys.dont_write_bytecode = True
        if not db.num_work_items:
            draw(db, packages, arguments.sample, arguments.seed)
        todo = list(db.pending_work_items)
        if arguments.again:
            results = db.completed_work_items
            todo += [item for item, r in results if r.test_outcome == TestOutcome.SURVIVED]
        todo.sort(key=place)
        random.Random(arguments.seed).shuffle(todo)  # Interrupted, it leaves a random sample.
        loop = Loop(session, todo)
        if todo and not in_a_fork(lambda: pytest.main([*OPTIONS, "-s", *tests], plugins=[loop])):
            sys.exit("The tests fail without a mutation.")
        for item in loop.on_import():
            path = item.mutations[0].module_path
            source, mutant = mutated(item.mutations[0])

            def run(path: pathlib.Path = path, mutant: str = mutant) -> int:
                path.write_text(mutant)
                return pytest.main([*OPTIONS, *tests])

            test(session, item, run)
            path.write_text(source)
        report(db)


def draw(db: WorkDB, packages: Sequence[str], count: int, seed: int) -> None:
    """Creates all mutants, and skips all but a random sample of those that compile."""
    folders = [pathlib.Path("keras_hyper", name) for name in packages]
    init(sorted(path for folder in folders for path in folder.glob("*.py")), db, {})
    items = sorted(db.work_items, key=place)
    random.Random(seed).shuffle(items)
    compiling = (item for item in items if compiles(item.mutations[0]))
    chosen = {item.job_id for _, item in zip(range(count), compiling, strict=False)}
    skipped = [item.job_id for item in items if item.job_id not in chosen]
    db.set_multiple_results(skipped, SKIPPED)


def place(item: WorkItem) -> tuple[str, str, int]:
    """Returns what identifies a mutant."""
    mutation = item.mutations[0]
    return str(mutation.module_path), mutation.operator_name, mutation.occurrence


def mutated(mutation: MutationSpec) -> tuple[str, str]:
    """Returns the source of a module, and that of its mutant."""
    source = mutation.module_path.read_text()
    operator = get_operator(mutation.operator_name)(**mutation.operator_args)
    return source, mutate_code(source, operator, mutation.occurrence)


def compiles(mutation: MutationSpec) -> bool:
    """Returns whether a mutant is valid Python and more than an annotation differs."""
    if "BitOr_" in mutation.operator_name:  # The package has single pipes in annotations only.
        return False
    try:
        compile(mutated(mutation)[1], "mutant", "exec")
    except SyntaxError:
        return False
    return True


def test(session: pathlib.Path, item: WorkItem, run: Callable[[], int]) -> None:
    """Runs tests on a mutant in a fork, and stores the result."""
    path = str(item.mutations[0].module_path)
    source, mutant = mutated(item.mutations[0])
    begin = time.monotonic()
    survived = in_a_fork(run, pathlib.Path("output"), TIMEOUT)
    seconds = time.monotonic() - begin
    lines = source.splitlines(), mutant.splitlines(), path, path
    result = WorkResult(
        worker_outcome=WorkerOutcome.NORMAL,
        test_outcome=TestOutcome.SURVIVED if survived else TestOutcome.KILLED,
        output=pathlib.Path("output").read_text()[-4000:],
        diff="\n".join(difflib.unified_diff(*lines, lineterm="", n=1)),
    )
    with use_db(str(session)) as db:
        db.set_result(item.job_id, result)
    print(
        f"{result.test_outcome.value} in {seconds:.0f} s, {path}:{item.mutations[0].start_pos[0]}"
    )
    print(result.diff if survived else "", flush=True)


def swaps(mutation: MutationSpec) -> list[tuple[CodeType, CodeType]] | None:
    """Returns the functions of a module that differ in its mutant, as pairs of code.

    Returns None if code that runs on import differs.
    """

    def visit(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType] | None]:
        consts = zip(old.co_consts, new.co_consts, strict=False)
        plain = [(a, b) for a, b in consts if not isinstance(a, CodeType)]
        same = len(old.co_consts) == len(new.co_consts) and all(
            type(a) is type(b) and a == b for a, b in plain
        )
        if not same or (old.co_code, old.co_names) != (new.co_code, new.co_names):
            yield None
            return
        for a, b in zip(old.co_consts, new.co_consts, strict=True):
            if isinstance(a, CodeType) and a != b:
                if a.co_flags & inspect.CO_NEWLOCALS:
                    yield a, b
                else:  # The body of a class.
                    yield from visit(a, b)

    path = str(mutation.module_path.absolute())
    pairs = list(visit(*(compile(source, path, "exec") for source in mutated(mutation))))
    return None if None in pairs else pairs


class Loop:
    """A plugin of pytest that tests mutants in place of running the tests once.

    Modules are imported and tests collected once. Each mutant gets a fork, in which the
    code of the functions that differ is replaced.
    """

    def __init__(self, session: pathlib.Path, todo: list[WorkItem]) -> None:
        self.session, self.todo = session, todo

    def on_import(self) -> list[WorkItem]:
        """Returns the mutants of code that runs on import."""
        return [item for item in self.todo if swaps(item.mutations[0]) is None]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measures the tests in a fork, then tests the mutants."""
        reach = pathlib.Path("reach.json")
        if not in_a_fork(lambda: measure(session, reach), pathlib.Path("output")):
            session.shouldfail = pathlib.Path("output").read_text()
            raise session.Failed(session.shouldfail)
        seconds, lines = json.loads(reach.read_text())
        tests = {item.nodeid: item for item in session.items}
        functions: dict[tuple[str, str, int], list[FunctionType]] = collections.defaultdict(list)
        gc.unfreeze()  # The tests freeze what is imported, which hides it.
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType):
                functions[where(thing.__code__)].append(thing)
        gc.freeze()
        for item in self.todo:
            pairs = swaps(item.mutations[0])
            names = quickest(item.mutations[0], seconds, lines)

            def run(pairs: Any = pairs, names: Any = names) -> int:
                for old, new in pairs:
                    for function in functions[where(old)]:
                        function.__code__ = new
                return run_tests(session, [tests[name] for name in names])

            if pairs is not None:
                if not all(functions[where(old)] for old, _ in pairs):
                    raise LookupError(f"The functions that differ are not found: {pairs}")
                test(self.session, item, run)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Prints a failure at once: a fork has no summary."""
        if report.failed:
            print(report.nodeid, report.longreprtext)


def where(code: CodeType) -> tuple[str, str, int]:
    """Returns what identifies a function in the source."""
    return code.co_filename, code.co_qualname, code.co_firstlineno


def measure(session: pytest.Session, path: pathlib.Path) -> int:
    """Runs all tests without a mutation; writes their CPU time and the lines they reach."""
    cover = coverage.Coverage(data_file=None, source=["keras_hyper"], branch=False)
    seconds = {}
    cover.start()
    for item in session.items:
        cover.switch_context(item.nodeid)
        begin = time.process_time()
        if run_tests(session, [item]):
            return 1
        seconds[item.nodeid] = time.process_time() - begin
    cover.stop()
    data = cover.get_data()
    lines = {os.path.relpath(p): data.contexts_by_lineno(p) for p in data.measured_files()}
    path.write_text(json.dumps([seconds, lines]))
    return 0


def quickest(mutation: MutationSpec, seconds: dict[str, float], lines: Any) -> list[str]:
    """Returns the quickest tests that reach a mutation, up to a total time."""
    reached = lines.get(str(mutation.module_path), {})
    span = range(mutation.start_pos[0], mutation.end_pos[0] + 1)
    names = {name for line in span for name in reached.get(str(line), [])} - {""}
    chosen, total = [], 0.0
    for name in sorted(names, key=lambda name: (seconds[name], name)):
        total += seconds[name]
        if total > SECONDS:
            break
        chosen.append(name)
    return chosen


def run_tests(session: pytest.Session, items: list[pytest.Item]) -> int:
    """Runs tests up to the first failure."""
    for item, following in itertools.zip_longest(items, items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def in_a_fork(
    function: Callable[[], int],
    output: pathlib.Path | None = None,
    timeout: float | None = None,
) -> bool:
    """Returns whether a function returns 0 in a forked process."""

    def target() -> None:
        if output is not None:
            with output.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
        code = function()
        sys.stdout.flush()
        os._exit(int(code))

    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def report(db: WorkDB) -> None:
    """Prints the score of each subpackage."""
    counts: dict[str, collections.Counter[bool]] = collections.defaultdict(collections.Counter)
    for item, result in db.completed_work_items:
        if result.worker_outcome == WorkerOutcome.NORMAL:
            killed = result.test_outcome == TestOutcome.KILLED
            counts[item.mutations[0].module_path.parts[1]][killed] += 1
            counts["total"][killed] += 1
    print(f"Keras {keras.__version__} on {keras.backend.backend()}")
    for package, count in counts.items():
        print(f"{package}: {count[True]} of {count.total()} mutants killed")


if __name__ == "__main__":
    main()
