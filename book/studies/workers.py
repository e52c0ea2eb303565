"""Long measurements, several at a time: each job in a process of its own, results as they come."""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result], jobs: Iterable[Job], processes: int
) -> Iterator[tuple[Job, Result]]:
    """Do jobs and yield each with its result, in the order in which they end.

    A job that fails is reported, and the others go on; the first failure is raised in the end.

    Args:
        work: a function of a module, since other processes must find it.
        jobs: begun in this order.
        processes: 1 for this one alone.
    """
    if processes == 1:
        yield from ((job, work(job)) for job in jobs)
        return
    failure: BaseException | None = None
    # Not a fork: a process that has used a GPU, or threads, cannot be copied.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        job_of = {pool.submit(work, job): job for job in jobs}
        for future in as_completed(job_of):
            error = future.exception()
            if error is None:
                yield job_of[future], future.result()
            else:
                print(f"{job_of[future]} failed:", file=sys.stderr)
                traceback.print_exception(error)
                failure = failure or error
    if failure:
        raise failure
