"""Jobs at a vendor that outlive a conversation, and a process: submitted, marked, asked about."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from schemas.calls import Call
from schemas.outcomes import Later, Outcome, Rejected, Submitted
from tests.sending.delivering import FAST, delivery_of, identify, people, placed, start, until, webhook
from tests.sending.memory_log import MemoryLog
from tests.sending.vendor_server import Answer, Seen, VendorServer
from transforms.destinations.contract import Batch, Conversation, Delivered, Reply, Request, Verdict, by_status
from transforms.destinations.webhook import Webhook
from transforms.sending.pump import Pump


class Importer(Webhook):
    """Takes people in jobs; says of each job what became of its people."""

    after = 0.05

    def batch_of(self, route: str) -> Batch:
        return Batch(100)

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        told = {call.identifier.id: call.value for call in calls}
        reply = yield Request("POST", "https://importer.example/jobs", json=told)
        return [Submitted(reply.object["job"], self.after)] * len(calls)

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        reply = yield Request("GET", f"https://importer.example/jobs/{job}")
        if reply.status == 404:
            return [Later(words="the job is lost")] * len(calls)
        if reply.object["state"] == "working":
            return [Submitted(job, self.after)] * len(calls)
        bad = set(reply.object["bad"])
        return [self._outcome(call, bad) for call in calls]

    def _outcome(self, call: Call, bad: set[str]) -> Outcome:
        return Rejected("invalid_identifier", "no such person") if call.identifier.id in bad else Delivered()

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        return Verdict("answered") if reply.status == 404 else by_status(reply, items)


class Vendor:
    """Works on each job for so many questions."""

    def __init__(self, questions: int = 2) -> None:
        self.questions = questions
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, int] = {}
        self.done: list[dict[str, Any]] = []
        self.bad: set[str] = set()
        self.lost: set[str] = set()
        self.number = 0

    def __call__(self, seen: Seen) -> Answer:
        if seen.method == "POST":
            self.number += 1
            job = f"job-{self.number}"
            self.jobs[job] = seen.json
            return Answer(202, {"job": job})
        job = seen.target.rpartition("/")[2]
        if job in self.lost or job not in self.jobs:
            return Answer(404)
        self.asked[job] = self.asked.get(job, 0) + 1
        if self.asked[job] <= self.questions:
            return Answer(200, {"state": "working"})
        self.done.append(self.jobs[job])
        return Answer(200, {"state": "done", "bad": sorted(self.bad & self.jobs[job].keys())})


def deliver(server: VendorServer, vendor: Vendor, log: MemoryLog, kind: type[Importer] = Importer) -> Any:
    server.script = vendor
    connected = webhook()
    delivery = delivery_of((), connected, replace(FAST, gateway=server.url), log=log, destination=kind(*connected))
    return asyncio.run(Pump(delivery, {}).run())


def test_everybody_gets_the_outcome_that_the_job_has_for_them(server: VendorServer) -> None:
    vendor, log = Vendor(), MemoryLog(placed(people(250)))
    vendor.bad = {"person-3@example.com", "person-120@example.com"}
    report = deliver(server, vendor, log)
    assert ("", 248, 2) == (report.stopped, report.delivered, report.rejections)
    assert [100, 100, 50] == [len(job) for job in vendor.jobs.values()]
    assert {3} == set(vendor.asked.values())


class Slow(Importer):
    """Its jobs take minutes: longer than a run waits."""

    after = 600.0


def test_a_job_outlives_the_process_that_began_it(server: VendorServer) -> None:
    vendor, log = Vendor(questions=0), MemoryLog(placed(people(10)))
    report = deliver(server, vendor, log, Slow)
    assert (0, 10) == (report.delivered, report.pending)
    assert {"job-1"} == {mark.job for mark in log.marks.values()}
    report = deliver(server, vendor, log.kill(), Slow)
    assert (10, 0) == (report.delivered, report.pending)
    assert ["job-1"] == [*vendor.jobs], "nobody is submitted twice"


def test_people_of_a_job_that_is_lost_are_sent_again(server: VendorServer) -> None:
    vendor, log = Vendor(questions=0), MemoryLog(placed(people(10)))
    vendor.lost = {"job-1"}
    report = deliver(server, vendor, log)
    assert ("", 10) == (report.stopped, report.delivered)
    assert ["job-1", "job-2"] == [*vendor.jobs]


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_job_that_cannot_be_asked_about_rejects_nobody(server: VendorServer, status: int) -> None:
    vendor, log = Vendor(questions=0), MemoryLog(placed(people(3)))

    def script(seen: Seen) -> Answer:
        first = seen.method == "GET" and vendor.number == 1
        return Answer(status) if first and status != 500 else vendor(seen)

    connected = webhook()
    server.script = script
    delivery = delivery_of((), connected, replace(FAST, gateway=server.url), log=log, destination=Importer(*connected))
    report = asyncio.run(Pump(delivery, {}).run())
    assert (3, 0) == (report.delivered, report.rejections)


def test_a_newer_value_waits_until_the_job_with_the_older_one_has_ended(server: VendorServer) -> None:
    vendor, connected = Vendor(questions=4), webhook()
    server.script = vendor
    running = start(
        [identify(1, True)], connected, replace(FAST, gateway=server.url), follow=True, destination=Importer(*connected)
    )
    until(lambda: bool(vendor.asked))
    running.log.append(*placed([structs.replace(identify(1, False), ask=2, replaces=1)]))
    until(lambda: running.settled == 2)
    running.sender.stop()
    assert ["delivered", "delivered"] == list(running.log.fates().values())
    assert [{"person-1@example.com": True}, {"person-1@example.com": False}] == vendor.done


def test_a_process_that_stops_while_a_job_is_at_work_leaves_it_to_the_next_one(server: VendorServer) -> None:
    vendor, log = Vendor(questions=5), MemoryLog(placed(people(10)))
    server.script = vendor
    connected = webhook()
    delivery = delivery_of((), connected, replace(FAST, gateway=server.url), log=log, destination=Importer(*connected))

    async def stopped() -> Any:
        pump = Pump(delivery, {})
        running = asyncio.create_task(pump.run())
        while not vendor.asked:
            await asyncio.sleep(0.01)
        pump.stop()
        return await running

    report = asyncio.run(stopped())
    assert 10 == report.pending
    assert {"job-1"} == {mark.job for mark in log.marks.values()}
    assert 10 == deliver(server, vendor, log.kill()).delivered
    assert ["job-1"] == [*vendor.jobs]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_job_that_is_over_leaves_no_doubt(server: VendorServer, restarted: bool) -> None:
    vendor, log = Vendor(questions=0), MemoryLog(placed(people(3)))
    vendor.bad = {"person-1@example.com"}
    if restarted:
        deliver(server, vendor, log, Slow)
        log = log.kill()
    report = deliver(server, vendor, log)
    assert (2, 1, 0) == (report.delivered, report.rejections, report.jobs)
    receipts = [log.receipts[ask] for ask in (1, 2, 3)]
    assert [(False, 0.0)] * 3 == [(each.maybe, each.unsure_until) for each in receipts]


@pytest.mark.parametrize("restarted", [False, True])
def test_an_older_request_may_land_whatever_became_of_the_job(server: VendorServer, restarted: bool) -> None:
    """The first request to make a job has no answer: it may have made one, too."""
    vendor, log = Vendor(questions=0), MemoryLog(placed(people(1)))
    lost = [Answer(cut="hang")]
    if restarted:
        _deliver_from(server, vendor, log, lost, Slow)
        log = log.kill()
    _deliver_from(server, vendor, log, lost)
    assert log.receipts[1].unsure_until > 0.0


def _deliver_from(
    server: VendorServer, vendor: Vendor, log: MemoryLog, lost: list[Answer], kind: type[Importer] = Importer
) -> None:
    server.script = lambda seen: lost.pop() if lost else vendor(seen)
    connected = webhook()
    delivery = delivery_of((), connected, replace(FAST, gateway=server.url), log=log, destination=kind(*connected))
    asyncio.run(Pump(delivery, {}).run())


def test_a_lost_job_may_land_yet(server: VendorServer) -> None:
    vendor, log = Vendor(questions=0), MemoryLog(placed(people(1)))
    vendor.lost = {"job-1"}
    deliver(server, vendor, log)
    assert log.receipts[1].unsure_until > 0.0


def test_the_report_says_how_many_jobs_are_not_over(server: VendorServer) -> None:
    vendor, log = Vendor(questions=0), MemoryLog(placed(people(250)))
    assert 3 == deliver(server, vendor, log, Slow).jobs
    assert 0 == deliver(server, vendor, log.kill()).jobs
