"""Work that is shared out among tasks."""

from __future__ import annotations

import anyio
import pytest

from asyncfetch.engine.groups import failing_alone, share_out
from asyncfetch.errors import NotFoundError

pytestmark = pytest.mark.anyio


async def test_each_item_goes_to_one_task_and_no_more_are_under_way_than_allowed():
    seen, now, most = [], 0, 0

    async def do(item):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await anyio.lowlevel.checkpoint()
        now -= 1
        seen.append(item)

    await share_out(iter(range(20)), do, 3)
    assert (sorted(seen), most) == (list(range(20)), 3)


async def test_the_first_error_ends_all_and_is_raised_as_it_was():
    n_begun = 0

    async def do(item):
        nonlocal n_begun
        n_begun += 1
        if item == 1:
            raise KeyError("one")
        await anyio.sleep_forever()

    with pytest.raises(KeyError, match="one") as caught:
        await share_out(range(20), do, 2)
    assert n_begun == 2
    assert caught.value.__cause__ is None


async def test_without_items_nothing_is_done():
    await share_out([], None, 0)


async def fail(error, cause=None):
    raise error from cause


async def test_an_error_of_ours_leaves_a_task_group_alone_with_what_caused_it():
    cause = OSError("the disk")
    with pytest.raises(NotFoundError, match="nothing") as caught, failing_alone():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail, NotFoundError("nothing there"), cause)
    assert caught.value.__cause__ is cause


async def test_a_bug_stays_in_the_group_of_its_tasks():
    with pytest.raises(ExceptionGroup) as caught, failing_alone():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail, KeyError("a bug"))
    assert [type(each) for each in caught.value.exceptions] == [KeyError]
