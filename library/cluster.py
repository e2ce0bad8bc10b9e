"""A Dask cluster that the user has started, as an engine for tasks.

Dask asks nobody who they are: whoever reaches its scheduler can run code on all of its workers.
"""

import asyncio
import hashlib
import importlib.metadata
import logging
import operator
import pickle
import platform
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from library.errors import LeverError
from library.workspace import HOME

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")
CONNECT_S, WORKERS_S = 5, 4  # patience with a scheduler that is silent, and that has no workers
AHEAD = 3  # tasks sent for each thread of the workers: none waits, and few lie in memory
ROOMS = ("library", "worlds", "pi2vec", "recording")  # whose code runs on workers
LOGGERS = ("distributed", "distributed.client", "tornado.application")
START = "start them in a checkout like this one: dask worker {} --nthreads 1"
_one_at_a_time = threading.Lock()


class Cluster:
    """The workers of a Dask cluster.

    Attributes:
        has_threads: a worker has several of them, which take turns.
    """

    def __init__(self, client: "Client", address: str) -> None:
        """Run tasks by a client that is connected to an address."""
        self._client, self._address = client, address
        self.has_threads = any(n > 1 for n in client.nthreads().values())

    def run(
        self, function: Callable[[Item], Result], items: Mapping[int, Item]
    ) -> Iterator[tuple[int, Result]]:
        """Do what `library.parallel.Engine.run` says; Dask repeats what a dead worker had."""
        from cloudpickle import dumps
        from distributed import as_completed
        from toolz import compose

        waiting = iter(items.items())
        numbers: dict[Any, int] = {}
        # The scheduler unpickles what it is sent, and can't import this checkout: it gets bytes.
        unpack_and_call = compose(operator.call, pickle.loads)
        done = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)

        def send() -> None:
            """Send as many tasks as the workers of now can use."""
            n_more = AHEAD * max(1, self._n_threads()) - len(numbers)
            for number, item in islice(waiting, max(0, n_more)):
                task = dumps(partial(_run, function, item, installation()))
                future = self._client.submit(unpack_and_call, task, pure=False)
                numbers[future] = number
                done.add(future)

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")
            send()
            for future, result in done:
                number = numbers.pop(future)
                send()
                if self._has_ended(future, result):
                    yield number, result

    def _n_threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except (OSError, TimeoutError):
            raise self._lost() from None

    def _has_ended(self, future: Any, result: Any) -> bool:
        """Tell whether a task came to its end; False when its workers died, time and again."""
        from distributed import KilledWorker

        if future.status == "finished":
            return True
        if future.status != "error":
            raise self._lost()
        _, error, traceback = result
        if isinstance(error, KilledWorker):
            return False
        raise error.with_traceback(traceback)

    def _lost(self) -> LeverError:
        return LeverError(
            f"the Dask scheduler at {self._address} has gone; start it and its workers, and try "
            "again: what is done stays"
        )


@contextmanager
def connect(address: str, shared: Path) -> Iterator[Cluster]:
    """Connect to a cluster whose workers have the code and the packages of this process.

    Args:
        address: of its scheduler, for instance `tcp://host:8786`.
        shared: a folder that the workers must see.

    Raises:
        LeverError: nobody answers there, or the workers can't be used, with what to do.
    """
    try:
        from distributed import Client
    except ImportError:
        raise LeverError(
            "--cluster needs Dask, which is not installed; run: "
            f"pip install -r {HOME / 'requirements-cluster.txt'}"
        ) from None
    for name in LOGGERS:  # what matters is raised as an error, in one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `_check_workers` looks at versions itself
        asyncio.run(_greet(address))
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    with client:
        _check_workers(client, address, shared)
        yield Cluster(client, address)


async def _greet(address: str) -> None:
    """Find out whether a Dask scheduler answers; `Client` waits for ever for one that is silent."""
    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> str:
        async with rpc(
            address, connection_args=Security().get_connection_args("client")
        ) as scheduler:
            return str((await scheduler.identity())["type"])

    try:
        answer = await asyncio.wait_for(ask(), CONNECT_S)
    except Exception:  # from a stranger may come anything
        answer = ""
    if answer != "Scheduler":
        raise LeverError(f"no Dask scheduler answers at {address}; start one with: dask scheduler")


def _check_workers(client: "Client", address: str, shared: Path) -> None:
    """Refuse workers that would not do what this process does."""
    start = START.format(address)
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError:
        raise LeverError(f"the Dask cluster at {address} has no workers; {start}") from None
    with NamedTemporaryFile(prefix=".cluster.", dir=shared) as mark:
        answers = client.run(_look, mark.name, on_error="return")
    here = installation()
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise LeverError(f"the worker {worker} can't import this checkout; {start}")
        there, sees_the_folder = answer
        if there != here:
            raise LeverError(f"the worker {worker} {describe_difference(there, here)}; {start}")
        if not sees_the_folder:
            raise LeverError(
                f"the worker {worker} has no {shared}; share that folder under the same path"
            )


def _look(path: str) -> tuple[dict[str, str], bool]:
    """Tell what a worker is made of, and whether it sees a file."""
    return installation(), Path(path).exists()


@cache
def installation() -> dict[str, str]:
    """Tell what results depend on: the versions of Python and of packages, and this code."""
    files = [HOME / f"requirements{which}.txt" for which in ("", "-cluster")]
    pins = "".join(file.read_text("utf-8") for file in files)
    packages = re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python, **{name: _version(name) for name in packages}, "code": _digest()}


def describe_difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Say in what an installation differs from this one."""
    names = [name for name in here if there.get(name) != here[name]]
    if names == ["code"]:
        return "has other code than this checkout"
    versions = [f"{n} {there.get(n, 'nothing')}, not {here[n]}" for n in names if n != "code"]
    return f"has {'; '.join(versions[:3])}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _digest() -> str:
    """Condense the code that runs on workers to a SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (HOME / room).rglob("*.py")):
        digest.update(path.relative_to(HOME).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _run(function: Callable[[Item], Result], item: Item, expected: Mapping[str, str]) -> Result:
    """Call a function on a worker, alone in its process and with one thread for algebra."""
    if installation() != expected:
        difference = describe_difference(installation(), expected)
        raise LeverError(f"a worker that joined later {difference}; stop it, and try again")
    with _one_at_a_time, threadpool_limits(limits=1):
        return function(item)
