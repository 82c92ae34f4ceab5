"""Blocks computed by the workers of a Dask cluster."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import monotonic, sleep
from typing import Any

from numpy.typing import NDArray

from .._optional import imported

_TASKS_PER_THREAD = 2  # in flight, so that no worker waits and the scheduler's memory stays small
WORKER_TIMEOUT = 600.0  # s
_GLANCE, _LOOK = 0.01, 1.0  # s between two looks at what is finished, and at the workers
_SECONDS = 10  # in which a scheduler must answer
# The data of a block are sent with its task on purpose; dask advises against that from 10 MB on.
_QUIET = {"distributed.admin.large-graph-warning-threshold": "1 TB"}


def run_on_cluster(
    address: str,
    apply: Callable[..., Mapping[str, NDArray]],
    tasks: Iterator[tuple[int, NDArray, dict[str, NDArray]]],
    worker_timeout: float | None = WORKER_TIMEOUT,
) -> Iterator[tuple[int, Mapping[str, NDArray]]]:
    """Yield (index, result) of tasks (index, rows, further arguments) as they are finished.

    The data of a task that is in flight stay with the scheduler, which gives it to another worker if its own dies. A
    finished result comes here at once and is never computed again. Without any worker the run waits for new ones,
    until the timeout in s, if there is one.

    Raises
    ------
    ImportError
        If dask.distributed is not installed.
    OSError
        If there is no scheduler at the address, it has no worker, it is lost, all its workers are for longer than the
        timeout, or a task ends every worker that gets it.
    """
    distributed, dask = imported("distributed", "cluster"), imported("dask", "cluster")
    try:
        client = distributed.Client(address, set_as_default=False, timeout=_SECONDS)
    except (OSError, ValueError) as error:
        raise OSError(f"scheduler: no Dask scheduler answers at {address}: {error}.") from error
    with client:
        n_threads = sum(client.nthreads().values())
        if not n_threads:
            raise OSError(f"scheduler: the Dask scheduler at {address} has no workers.")
        # A task of its own, so that every worker gets it once, and gets it again if the one that had it is gone. It is
        # pickled here, as the scheduler would have to import all that it needs.
        packed = distributed.protocol.pickle.dumps(partial(_applied, apply))
        with dask.config.set(_QUIET):
            function = client.submit(pickle.loads, packed, pure=False)
        running = distributed.as_completed(loop=client.loop, with_results=False)  # it has no default client
        index_of: dict[Any, int] = {}

        def start_next() -> None:
            for index, rows, extra in tasks:
                with dask.config.set(_QUIET):
                    future = client.submit(operator.call, function, rows, extra, pure=False)
                index_of[future.key] = index
                running.add(future)
                return

        for _ in range(_TASKS_PER_THREAD * n_threads):
            start_next()
        while not running.is_empty():
            _wait(client, running, worker_timeout)
            future = next(running)
            try:
                result = future.result()
            except distributed.CancelledError as error:
                raise OSError(f"scheduler: the Dask scheduler at {address} is lost: {error}.") from error
            except ImportError as error:
                raise OSError(f"scheduler: a worker at {address} cannot import what it needs: {error}.") from error
            except distributed.scheduler.KilledWorker as error:
                raise OSError(f"scheduler: workers at {address} do not survive a block: {error}") from error
            future.release()
            start_next()
            yield index_of.pop(future.key), result


def _wait(client: Any, running: Any, worker_timeout: float | None) -> None:
    """Wait until a task is finished; raise OSError if there is no worker for too long."""
    seen = looked = monotonic()
    while not running.has_ready():
        sleep(_GLANCE)
        now = monotonic()
        if worker_timeout is None or now - looked < min(_LOOK, worker_timeout):
            continue
        looked = now
        try:
            has_workers = bool(client.nthreads())
        except OSError as error:
            raise OSError(f"scheduler: the Dask scheduler at {client.scheduler.address} is lost: {error}.") from error
        if has_workers:
            seen = now
        elif now - seen > worker_timeout:
            raise OSError(
                f"scheduler: all workers of the Dask scheduler at {client.scheduler.address} are gone, and no new one "
                f"came in {worker_timeout:g} s."
            )


def _applied(
    apply: Callable[..., Mapping[str, NDArray]], rows: NDArray, extra: dict[str, NDArray]
) -> Mapping[str, NDArray]:
    return apply(rows, **extra)
