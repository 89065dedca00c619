"""What Beam's steps count: under the names that are written down, on the thread of the bundle, and rightly."""

import ast
import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from msgspec.json import encode as as_line

from pipeline.inputs import InputError, read_blocks
from pipeline.streaming.graph import _AddressFn
from pipeline.streaming.kafka import Kafka
from schemas.report import Report
from scripts.beam_metrics import PAGE, counts_of, page
from tests.pipeline.running import profile, score, write_events
from tests.transforms.beam_job import Always
from tests.transforms.logic.job import at
from tests.transforms.logic.transcripts import event_of
from tests.transforms.test_fold_accounts import plan
from transforms.counting import NAMESPACE
from transforms.deliver import Deliver
from transforms.fold import FoldShards
from transforms.keyed import FoldAccounts, FoldProfiles
from transforms.logic.portion import known_of
from transforms.read import ReadEvents

ROOT = Path(__file__).parents[1]


EVENTS: list[dict[str, Any]] = [
    {"ids": ["ana@x.example"], "at": 1},
    {"account": "acme", "joins": "ana", "at": 1},
    {"account": "acme", "at_risk": True, "at": 2},
]


def counted(result: Any) -> dict[tuple[str, str], int]:
    """Our counters of a pipeline that has run, by the last part of the step's name; without those that are 0."""
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))["counters"]
    return {(each.key.step.split("/")[-1], each.key.metric.name): each.committed for each in found if each.committed}


def declared(pipeline: beam.Pipeline) -> set[tuple[str, str]]:
    return {(step.split("/")[-1], name) for step, names in counts_of(pipeline).items() for name in names}


def test_what_steps_count_is_written_down() -> None:
    assert PAGE.read_text("utf-8") == page(), "boards and alerts go by these names: run `make docs` if that is meant"


def test_names_are_those_that_prometheus_takes() -> None:
    names = {name for line in page().splitlines() if "  " in line for name in line.split("  ")[1].split(", ")}
    assert {"facts", "calls", "dead_letters", "records", "requests"} <= names
    assert [] == [name for name in names if not re.fullmatch("[a-z_]+", name)]


def test_a_run_counts_what_it_reads_and_folds(tmp_path: Path) -> None:
    good = write_events(tmp_path / "good.jsonl", profile("ana", at(1)), score("ana", at(1), 1), {"type": "nonsense"})
    root = beam.Pipeline(runner=FnApiRunner())
    files = root | "Files" >> beam.Create([(str(good), False)])
    read = files | "ReadEvents" >> ReadEvents(read_blocks, InputError, 1, known_of(plan()))
    (read.packs | beam.GroupByKey(), read.errors) | "FoldShards" >> FoldShards(plan(), _Folded())
    result = root.run()
    result.wait_until_finish()
    found = {name: number for (_, name), number in counted(result).items()}
    assert {"files": 1, "packs": 1, "records": 3, "dead_letters": 1} == found
    assert set(counted(result)) <= declared(root)


class _Folded:
    def fold_parsed(self, parsed: Any) -> int:
        return len(parsed.events)


def test_a_file_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    root = beam.Pipeline(runner=FnApiRunner())
    files = root | beam.Create([(str(tmp_path / "missing.jsonl"), False)])
    files | "ReadEvents" >> ReadEvents(read_blocks, InputError, 1, known_of(plan()))
    result = root.run()
    result.wait_until_finish()
    assert {"unreadable_files": 1} == {name: number for (_, name), number in counted(result).items()}


class _Delivered:
    """Delivers at once. Its future may be done on any thread; the step counts on its own."""

    def start(self, connection: str) -> "Future[Report]":
        done: Future[Report] = Future()
        rejected = {"invalid": 2, "gone": 1}
        done.set_result(Report(connection=connection, destination="x", requests=5, delivered=7, rejected=rejected))
        return done


def test_what_was_delivered_is_counted_though_others_delivered_it() -> None:
    root = beam.Pipeline(runner=FnApiRunner())
    root | beam.Create(["a", "b"]) | Deliver(_Delivered())
    result = root.run()
    result.wait_until_finish()
    found = {name: number for (_, name), number in counted(result).items()}
    assert {"requests": 10, "delivered": 14, "rejected": 6} == found
    assert set(counted(result)) <= declared(root)


def test_the_streaming_job_counts_by_step() -> None:
    log = Kafka("localhost:9092", "shop")
    lines = [as_line(event_of(each)) for each in EVENTS]
    root = beam.Pipeline(runner=FnApiRunner())
    address = beam.ParDo(_AddressFn(log)).with_output_types(tuple[bytes, bytes])
    address.label = "Address"
    wrong = log.topic("facts"), b"", b"nonsense"  # among events it would be asked of a broker whether it is Segment's
    records = root | beam.Create([*(("events", b"", line) for line in lines), wrong])
    facts = records | "Address" >> address.with_outputs("accounts", main="profiles")
    accounts = facts.accounts | "Accounts" >> beam.Map(_same).with_output_types(tuple[bytes, bytes])
    own = facts.profiles | "Profiles" >> beam.Map(_same).with_output_types(tuple[bytes, bytes])
    folded = accounts | FoldAccounts(Always(plan()))
    (own, folded["members"]) | beam.Flatten() | FoldProfiles(Always(plan()))
    result = root.run()
    result.wait_until_finish()
    found = counted(result)
    assert (4, 2) == (found["Address", "records"], found["Address", "records_about_accounts"])
    assert (2, 1) == (found["Heads", "facts"], found["Fold", "dead_letters"])
    assert 2 + found["Parts", "members"] == found["Fold", "facts"]  # ana, nonsense, and what her account says
    assert found["Fold", "states"] >= 1
    assert found["Fold", "calls"] >= 1
    assert set(found) <= declared(root)


def _same(element: Any) -> Any:
    return element


def test_nothing_is_counted_elsewhere_than_in_the_methods_of_a_bundle() -> None:
    """A callback or a thread of our own would count for no step, or for another's."""
    ours = {"_fold", "_plan", "_calls", "_bad"}  # of `process` and `finish_bundle`
    methods = {"process", "start_bundle", "finish_bundle"} | ours
    for path in [*(ROOT / "transforms").glob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.name not in methods:
                counting = [n for n in ast.walk(function) if isinstance(n, ast.Attribute) and n.attr == "count"]
                own = [n for n in counting if isinstance(n.value, ast.Name) and n.value.id == "self"]
                assert not own, f"{path.name}: {function.name} counts"
