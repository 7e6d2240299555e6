"""Items worked off: several at a time, within the memory, to a soon end when asked, failures as data."""

from __future__ import annotations

import anyio
import pytest

from asyncfetch.errors import CorruptImageError, OutageError, StoreItemError, StoreSpaceError
from asyncfetch.mirroring.runner import Runner, costs_one_item

pytestmark = pytest.mark.anyio


class Numbers:
    """Work whose items are numbers."""

    def __init__(self, *, size=0, tolerated=(CorruptImageError,)):
        self.size = size
        self.tolerated = tolerated
        self.n_done, self.failures, self.n_ended = 0, [], 0
        self.now, self.most = 0, 0

    async def do(self, item, _companion):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            if item < 0:
                raise CorruptImageError(f"{item} is corrupt")
            return item
        finally:
            self.now -= 1

    def bytes_of(self, _item):
        return self.size

    def done(self, item, result, _flight):
        assert item == result
        self.n_done += 1

    def failed(self, item, error):
        self.failures.append((item, error))
        return isinstance(error, self.tolerated)

    async def ended(self, _item):
        self.n_ended += 1


def runner_of(work, do=None, *, n_workers=4, drain=None, budget_bytes=None):
    return Runner(
        work, do or work.do, n_workers=n_workers, drain=drain or anyio.Event(), budget_bytes=budget_bytes
    )


async def test_every_item_is_done_once_by_no_more_workers_than_allowed():
    work = Numbers()
    await runner_of(work).run(range(50))
    assert (work.n_done, work.n_ended, work.most) == (50, 50, 4)


async def test_items_wait_for_the_memory_that_they_need():
    work = Numbers(size=60)
    await runner_of(work, budget_bytes=100).run(range(8))
    assert (work.n_done, work.most) == (8, 1)


async def test_an_item_that_fails_is_told_and_the_others_go_on():
    work = Numbers()
    await runner_of(work).run([1, -2, 3])
    assert (work.n_done, work.n_ended) == (2, 3)
    assert [item for item, _ in work.failures] == [-2]


async def test_an_error_that_is_not_one_items_ends_the_run_as_it_was():
    work = Numbers(tolerated=())
    with pytest.raises(CorruptImageError, match="-2 is corrupt"):
        await runner_of(work).run([1, -2, 3])


async def test_once_the_run_is_to_end_no_more_items_are_taken():
    drain = anyio.Event()
    work = Numbers()

    async def do(item, companion):
        if item == 3:
            drain.set()
        return await work.do(item, companion)

    runner = runner_of(work, do, n_workers=1, drain=drain)
    await runner.run(range(10))
    assert (work.n_done, runner.is_interrupted) == (4, True)


async def test_a_drained_run_lets_go_of_what_only_waits_and_finishes_what_is_sent():
    drain = anyio.Event()
    work = Numbers()
    released = anyio.Event()

    async def do(item, companion):
        if item == 0:
            companion.sent()
            await released.wait()
        else:
            await anyio.sleep_forever()
        return item

    runner = runner_of(work, do, n_workers=2, drain=drain)
    async with anyio.create_task_group() as tasks:
        runner.start(tasks, range(2))
        await anyio.wait_all_tasks_blocked()
        drain.set()
        runner.drain()
        released.set()
    assert (work.n_done, work.n_ended, runner.is_interrupted) == (1, 1, True)


async def test_an_item_that_waits_for_another_attempt_does_not_keep_its_worker_from_the_others():
    work = Numbers()
    others = anyio.Event()

    async def do(item, companion):
        companion.sent()
        if item == 0:
            companion.parked()
            await others.wait()
        elif item == 3:
            others.set()
        return item

    await runner_of(work, do, n_workers=1).run(range(4))
    assert work.n_done == 4


def test_a_full_disk_and_an_outage_are_everybodys_and_one_odd_object_is_not():
    assert costs_one_item(StoreItemError("odd", location="here"))
    assert costs_one_item(CorruptImageError("cut"))
    assert not costs_one_item(StoreSpaceError("full", location="here"))
    assert not costs_one_item(OutageError("silent"))
