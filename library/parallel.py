"""The same work on many runs: one after the other, in processes, or on a cluster's workers.

Wherever a task runs it is given the same, and one thread for algebra; so what it returns and writes
is equal to the last byte.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Item = TypeVar("Item")
Result = TypeVar("Result")
ATTEMPTS = 2  # with others beside it; after that, what is left has all processes to itself
DIED = "the process that worked on it died again and again, perhaps for lack of memory"


class Engine(Protocol):
    """What tasks run on."""

    def run(
        self, function: Callable[[Item], Result], items: Mapping[int, Item]
    ) -> Iterator[tuple[int, Result]]:
        """Call a function with each item; the first error that it raises ends it all.

        Args:
            function: one that pickle finds by its name, or a partial of one.
            items: by number, what pickle can carry.

        Yields:
            The number of an item and its result, in any order; nothing for those whose process
            died, or was to be used next by one that died.
        """


def map_runs(
    engine: Engine,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    lost: Callable[[Item, str], Result],
    label: str,
    unit: str = "run",
) -> list[Result]:
    """Call a function with each item, and show how far it has come.

    Args:
        engine: where.
        function: as `Engine.run`.
        items: n items.
        lost: makes the result of an item whose process died every time, given the reason.
        label: what is being done, for the progress bar.
        unit: what an item is.

    Returns:
        n results, in the order of the items.
    """
    from tqdm import tqdm

    outcomes = _try_patiently(engine, function, items, lost)
    results = dict(tqdm(outcomes, total=len(items), desc=label, unit=unit, disable=None))
    return [results[number] for number in range(len(items))]


def _try_patiently(
    engine: Engine,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    lost: Callable[[Item, str], Result],
) -> Iterator[tuple[int, Result]]:
    """Call a function with each item, again where a process died, and in the end one by one."""
    left = dict(enumerate(items))
    for _ in range(ATTEMPTS):
        for number, result in engine.run(function, dict(left)):
            del left[number]
            yield number, result
        left = dict(reversed(left.items()))  # what kills its process is now among the last
    for number, item in left.items():
        alone = dict(engine.run(function, {number: item}))
        yield number, alone[number] if alone else lost(item, DIED)


@dataclass(frozen=True)
class Processes:
    """This machine: one process a job, or just this one."""

    n_jobs: int = 1

    def run(
        self, function: Callable[[Item], Result], items: Mapping[int, Item]
    ) -> Iterator[tuple[int, Result]]:
        """Do what `Engine.run` says."""
        if self.n_jobs > 1 and items:
            yield from self._run_in_processes(function, items)
        else:
            with threadpool_limits(limits=1):
                yield from ((number, function(item)) for number, item in items.items())

    def _run_in_processes(
        self, function: Callable[[Item], Result], items: Mapping[int, Item]
    ) -> Iterator[tuple[int, Result]]:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        parallel = Parallel(
            self.n_jobs,
            "loky",
            return_as="generator_unordered",
            batch_size=1,  # one run may take as long as all others together
            inner_max_num_threads=1,
        )
        tasks = (delayed(_run)(function, number, item) for number, item in items.items())
        try:
            yield from parallel(tasks)
        except TerminatedWorkerError:
            return


HERE = Processes()  # one task after the other, in this process


def _run(function: Callable[[Item], Result], number: int, item: Item) -> tuple[int, Result]:
    return number, function(item)
