"""A member of a run: its lease, its events and its part of rate and window, in virtual time and without a network."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import pytest

from asyncfetch.cluster.ledger import Ledger, Terms
from asyncfetch.cluster.member import Member
from asyncfetch.cluster.messages import decode_question, encode
from asyncfetch.errors import ClusterError, StatusError, StoreBusyError
from asyncfetch.events import HostPaused, SectionSkipped
from asyncfetch.settings import Settings
from benchmarks.simulation.clock import run_virtually

TERMS = Terms(requests_per_s=10.0, n_permits=4, lease_s=3.0, margin_s=1.0)
SETTINGS = Settings(requests_per_s=10.0, jobs=4)


class Network:
    """A way to a ledger, which can be cut."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger(TERMS)
        self.is_cut = False
        self.is_hanging = False

    async def send(self, message: bytes) -> bytes:
        await anyio.sleep(0.001)
        if self.is_hanging:
            await anyio.sleep_forever()
        if self.is_cut:
            raise ClusterError("cut")
        self.ledger.lose_silent(anyio.current_time())
        answer = encode(self.ledger.answer(decode_question(message), anyio.current_time()))
        await anyio.sleep(0.001)
        return answer


@asynccontextmanager
async def joined(network: Network, **options):
    member = Member(network.send, lease_s=TERMS.lease_s, clock=anyio.current_time, **options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(member.run)
        yield member
        tasks.cancel_scope.cancel()


def test_a_member_owns_what_nobody_else_does_and_gives_it_back():
    async def main() -> list[str]:
        network, order = Network(), []
        async with joined(network) as one, joined(network) as other:

            async def work(member: Member, name: str) -> None:
                async with member.own("set") as guard:
                    guard()
                    order.append(f"{name} begins")
                    await anyio.sleep(1)
                    order.append(f"{name} ends")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work, one, "one")
                await anyio.sleep(0.1)
                tasks.start_soon(work, other, "other")
        return order

    assert run_virtually(main) == ["one begins", "one ends", "other begins", "other ends"]


@pytest.mark.parametrize("how", ["is_cut", "is_hanging"])
def test_who_is_cut_off_stops_before_another_can_own_what_it_was_at(how):
    async def main() -> tuple[float, float]:
        network = Network()
        cut_off = Network(network.ledger)
        stopped, errors = 0.0, []
        async with joined(cut_off) as one, joined(network) as other:

            async def work() -> None:
                nonlocal stopped
                try:
                    async with one.own("set") as guard:
                        while True:
                            await anyio.sleep(0.01)
                            guard()
                            stopped = anyio.current_time()
                except (ClusterError, StoreBusyError) as error:
                    errors.append(error.message)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                await anyio.sleep(1)
                cut = anyio.current_time()
                setattr(cut_off, how, True)
                async with other.own("set"):
                    taken = anyio.current_time()
        assert "stopped writing" in errors[0]
        return stopped - cut, taken - cut

    stopped, taken = run_virtually(main)
    assert 2.0 < stopped < taken < 6.0


async def work_until_cut(member: Member, network: Network, guards: list) -> None:
    async with member.own("set") as guard:
        guards.append(guard)
        network.is_cut = True
        await anyio.sleep(20)


def test_a_guard_of_a_lost_lease_stays_shut_when_the_member_is_back():
    async def main() -> None:
        network, guards = Network(), []
        async with joined(network) as member:
            with pytest.raises(ClusterError):
                await work_until_cut(member, network, guards)
            network.is_cut = False
            async with member.own("other") as guard_of_now:
                guard_of_now()
                with pytest.raises(StoreBusyError, match="another worker takes over"):
                    guards[0]()

    run_virtually(main)


def test_all_events_are_heard_once_however_often_the_way_is_cut():
    async def main() -> list[int]:
        network, heard = Network(), []
        async with (
            joined(network, listen=lambda event: heard.append(event.image_id)) as coordinator,
            joined(network) as worker,
        ):
            for image_id in range(60):
                network.is_cut = image_id % 20 > 15
                worker.tell(SectionSkipped(data_set_id=1, image_id=image_id, view="image"))
                await anyio.sleep(0.2)
            network.is_cut = False
            await worker.settle()
            await coordinator.settle()
        return heard

    assert run_virtually(main) == list(range(60))


async def work_until_over(member: Member, network: Network) -> None:
    async with member.own("set"):
        network.ledger.is_over = True
        await anyio.sleep(20)


def test_a_run_that_is_over_ends_all_work():
    async def main() -> None:
        network = Network()
        async with joined(network) as member:
            with pytest.raises(ClusterError, match="the run has ended"):
                await work_until_over(member, network)

    run_virtually(main)


def test_all_drain_when_one_asks_for_it():
    async def main() -> None:
        network = Network()
        async with joined(network) as coordinator, joined(network) as worker:
            coordinator.ask_to_drain()
            with anyio.fail_after(2):
                await worker.drain.wait()

    run_virtually(main)


def test_members_start_requests_at_one_rate_and_hold_one_window():
    async def main() -> tuple[list[float], int]:
        network, starts, n_inside, most = Network(), [], 0, 0
        end = anyio.current_time() + 20

        async def work(member: Member) -> None:
            nonlocal n_inside, most
            while anyio.current_time() < end:
                async with member.gate.permit("image"):
                    starts.append(anyio.current_time())
                    n_inside += 1
                    most = max(most, n_inside)
                    await anyio.sleep(0.15)
                    n_inside -= 1

        async with (
            joined(network, settings=SETTINGS) as one,
            joined(network, settings=SETTINGS) as two,
            joined(network, settings=SETTINGS) as three,
            anyio.create_task_group() as tasks,
        ):
            for member in (one, two, three):
                for _ in range(4):
                    tasks.start_soon(work, member)
        return sorted(starts), most

    starts, most = run_virtually(main)
    assert most <= 4
    assert all(later - earlier >= 1.0 for earlier, later in zip(starts, starts[10:], strict=False))
    assert len(starts) >= 0.95 * 10 * (starts[-1] - starts[0])


def test_a_pause_that_one_meets_holds_all_back():
    async def main() -> tuple[float, list[str]]:
        network, told = Network(), []
        async with (
            joined(network, settings=SETTINGS, listen=lambda event: told.append(type(event).__name__)) as one,
            joined(network, settings=SETTINGS) as two,
        ):
            async with two.gate.permit("image"):
                pass
            now = anyio.current_time()
            error = StatusError("busy", status=503, retry_after="5")
            assert one.gate.health.failed(error, now, now, datetime.now(UTC), 0.5) == "paused"
            one.gate.health_changed()
            one.tell(HostPaused(delay_s=5.0, cause="busy"))
            await anyio.sleep(0.5)
            assert two.gate.health.state == "paused"
            async with two.gate.permit("image"):
                return anyio.current_time() - now, told

    waited_s, told = run_virtually(main)
    assert 5.0 <= waited_s < 6.0
    assert told == ["HostPaused"]
