from __future__ import annotations

import threading
from contextlib import contextmanager

import anyio
import pytest

from asyncfetch.errors import StoreSpaceError
from asyncfetch.imaging import Jobs, Pool
from asyncfetch.imaging.jobs import JobsStoppedError

pytestmark = pytest.mark.anyio


class Held:
    """A job that waits, once it has begun, until it is released."""

    def __init__(self, job):
        self._job = job
        self.begun, self.release = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        self.release.wait(10)
        self._job()


@contextmanager
def worked_by_another(jobs, held):
    """Let another thread be at the held job, which is released a moment after the block has begun."""
    other = threading.Thread(target=jobs.work)
    other.start()
    held.begun.wait(10)
    threading.Timer(0.05, held.release.set).start()
    yield
    other.join(10)


async def cancel_while_it_is_done(held, tasks):
    """Cancel tasks while a thread is at the held job, and release it when they have noticed."""
    await anyio.to_thread.run_sync(held.begun.wait)
    tasks.cancel_scope.cancel()
    with anyio.CancelScope(shield=True):
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
    held.release.set()


def test_a_job_starts_when_all_that_it_needs_is_there():
    jobs, done = Jobs(), []
    jobs.add("plane", lambda: done.append("plane"), ["left", "right"])
    jobs.work()
    jobs.arrive("left")
    jobs.work()
    assert (done, jobs.n_ready, jobs.n_waiting) == ([], 0, 1)
    jobs.arrive("right")
    jobs.work()
    assert (done, jobs.n_waiting) == (["plane"], 0)


def test_a_job_that_is_done_is_there_for_others():
    jobs, done = Jobs(), []
    jobs.add("coarse", lambda: done.append("coarse"), ["fine"])
    jobs.add("coarsest", lambda: done.append("coarsest"), ["coarse"])
    jobs.add("fine", lambda: done.append("fine"))
    jobs.work()
    assert done == ["fine", "coarse", "coarsest"]


def test_what_is_there_already_is_not_waited_for():
    jobs, done = Jobs(), []
    jobs.arrive("pixels")
    jobs.add("shard", lambda: done.append("shard"), ["pixels"])
    jobs.work()
    assert done == ["shard"]


def test_what_a_job_made_ready_comes_before_what_waited_longer():
    jobs, done = Jobs(), []
    for name in ("a", "b"):
        jobs.add(name, lambda name=name: done.append(name))
    jobs.add("of a", lambda: done.append("of a"), ["a"])
    jobs.work()
    assert done == ["a", "of a", "b"]


async def test_a_failed_job_stops_the_others_and_is_raised_as_it_was():
    jobs, done = Jobs(), []
    error = StoreSpaceError("no space left", location="here")

    def fail():
        raise error

    jobs.add("fails", fail)
    jobs.add("comes after", lambda: done.append("comes after"), ["fails"])
    async with Pool(1) as pool:
        with pytest.raises(StoreSpaceError) as caught:
            await pool.work(jobs)
    assert caught.value is error
    assert done == []


async def test_jobs_of_one_image_run_on_all_threads():
    jobs, meeting = Jobs(), threading.Barrier(3, timeout=10)
    for k in range(3):
        jobs.add(k, meeting.wait)
    async with Pool(3) as pool:
        await pool.work(jobs)
    assert jobs.n_ready == 0


async def test_after_a_cancellation_no_job_begins():
    jobs, done = Jobs(), []
    first = Held(lambda: done.append("first"))
    jobs.add("first", first)
    jobs.add("second", lambda: done.append("second"))
    async with Pool(1) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(pool.work, jobs)
        await cancel_while_it_is_done(first, tasks)
    assert done == ["first"]


def test_who_finishes_jobs_waits_for_those_of_others_and_for_what_they_make_ready():
    jobs, done = Jobs(), []
    slow = Held(lambda: done.append("slow"))
    jobs.add("slow", slow)
    jobs.add("after", lambda: done.append("after"), ["slow"])
    with worked_by_another(jobs, slow):
        jobs.finish()
    assert done == ["slow", "after"]


def test_who_finishes_jobs_is_told_of_what_failed_at_another_thread():
    jobs = Jobs()

    def fail():
        raise StoreSpaceError("no space left", location="here")

    fails = Held(fail)
    jobs.add("fails", fails)
    with worked_by_another(jobs, fails), pytest.raises(StoreSpaceError):
        jobs.finish()


def test_jobs_that_were_stopped_are_not_finished():
    jobs, done = Jobs(), []
    jobs.add("first", jobs.stop)
    jobs.add("second", lambda: done.append("second"), ["first"])
    with pytest.raises(JobsStoppedError):
        jobs.finish()
    assert done == []


async def test_idle_threads_help_one_that_finishes_jobs():
    jobs, meeting = Jobs(), threading.Barrier(3, timeout=10)
    for k in range(3):
        jobs.add(k, meeting.wait)
    async with Pool(3) as pool, pool.helping(jobs) as call_help:

        def finish():
            call_help()
            jobs.finish()

        await pool.run(finish)


async def test_help_that_waits_in_line_is_let_go_when_the_jobs_are_done():
    jobs, release = Jobs(), threading.Event()
    for k in range(3):
        jobs.add(k, lambda: None)
    async with Pool(2) as pool, anyio.create_task_group() as others:
        others.start_soon(pool.run, release.wait, 10)
        async with pool.helping(jobs) as call_help:

            def finish():
                call_help()
                jobs.finish()

            await pool.run(finish)
        assert not release.is_set()
        release.set()


async def test_an_error_beside_helped_jobs_comes_through_as_it_was():
    error = StoreSpaceError("no space left", location="here")
    async with Pool(2) as pool:
        with pytest.raises(StoreSpaceError) as caught:
            async with pool.helping(Jobs()):
                raise error
    assert caught.value is error


async def test_a_cancellation_stops_jobs_that_are_being_finished():
    jobs, done, raised = Jobs(), [], []
    first = Held(lambda: done.append("first"))
    jobs.add("first", first)
    jobs.add("second", lambda: done.append("second"), ["first"])

    async def finish(pool):
        try:
            async with pool.helping(jobs):
                await pool.run(jobs.finish)
        except BaseException as error:
            raised.append(type(error))
            raise

    async with Pool(1) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(finish, pool)
        cancelled = anyio.get_cancelled_exc_class()
        await cancel_while_it_is_done(first, tasks)
    assert done == ["first"]
    # and goes on itself: nobody outside hears of the jobs' end
    assert raised == [cancelled]
