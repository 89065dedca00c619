"""Marketo: static lists, and imports into them, which take some seconds. A part of the fake of Marketo."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from sandbox.memory import Person
from sandbox.vendor import Answer, Request

TAKES = 3.0  # seconds, of an import
QUEUED = 10

Write = Callable[[dict[str, Any], str, float], dict[str, Any]]


@dataclass
class Import:
    """One job. Its rows are written when it is done."""

    at: float  # when it is done
    listed: int
    rows: list[dict[str, str]]
    by: str
    failed: list[list[str]] = field(default_factory=list)
    done: bool = False


class Lists:
    """Every folder that is asked for is there, unless its name begins with `Missing`."""

    def __init__(
        self, write: Callable[[dict[str, Any], str, float], dict[str, Any]], lead: Callable[[Any], Person | None]
    ):
        """`write` makes or changes a lead, by a field; `lead` finds one by id."""
        self.write, self.lead = write, lead
        self._lists: dict[int, tuple[str, dict[int, Person]]] = {}
        self._imports: list[Import] = []
        self._made = 1_000

    def finish(self, at: float) -> None:
        for job in self._imports:
            if job.done or job.at > at:
                continue
            job.done = True
            for row in job.rows:
                told = self.write(dict(row), job.by, job.at)
                person = self.lead(told.get("id"))
                if person is None:
                    job.failed.append([*row.values(), told["reasons"][0]["message"]])
                elif job.listed in self._lists:
                    self._lists[job.listed][1][person.number] = person

    def shown(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "members": sorted(p.identifiers.get("email", "") for p in members.values())}
            for name, members in self._lists.values()
        ]

    # -- assets
    def folder(self, request: Request) -> Answer:
        name = request.query.get("name", "")
        found = [] if not name or name.startswith("Missing") else [{"id": 34, "folderId": {"id": 34, "type": "Folder"}}]
        return _asset(found)

    def list_by_name(self, request: Request) -> Answer:
        name = request.query.get("name")
        return _asset([{"id": id, "name": known} for id, (known, _) in self._lists.items() if known == name])

    def make_list(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        try:
            folder = msgspec.json.decode(form.get("folder", ""))
        except msgspec.DecodeError:
            folder = None
        if not isinstance(folder, dict) or folder.get("type") not in ("Folder", "Program") or not form.get("name"):
            return _errors("701", "folder and name cannot be blank")
        if folder.get("id") != 34:
            return _errors("710", "Parent Folder Not Found")
        if form["name"] in {name for name, _ in self._lists.values()}:
            return _errors("709", "Asset with the same name already exists")
        self._made += 1
        self._lists[self._made] = (form["name"], {})
        return _asset([{"id": self._made, "name": form["name"], "folder": folder}])

    def delete_list(self, request: Request, id: str) -> Answer:
        return _asset([{"id": int(id)}]) if self._lists.pop(int(id), None) else _errors("702", "No data found")

    # -- members
    def leave(self, request: Request, id: str) -> Answer:
        found = self._lists.get(int(id)) if id.isdigit() else None
        if found is None:
            return _errors("1013", "Object not found")
        ids = [each for name, each in parse_qsl(request.target.partition("?")[2]) if name == "id"]
        if not 0 < len(ids) <= 300:
            return _errors("1003", "1 to 300 ids are taken")
        told: list[dict[str, Any]] = []
        for each in ids:
            person = self.lead(each)
            member = found[1].pop(int(each), None)
            code, words = ("1015", "Lead not in list") if person else ("1004", "Lead not found")
            told.append({"id": int(each), "status": "removed"} if member else _skipped(int(each), code, words))
        return Answer(200, {"requestId": "1", "success": True, "result": told})

    # -- imports
    def begin_import(self, request: Request) -> Answer:
        """Ten at once, and one into a list."""
        listed, waiting = request.query.get("listId", ""), [job for job in self._imports if not job.done]
        content = _file(request)
        if request.query.get("format") != "csv" or content is None:
            return _errors("613", "Invalid Multipart Request")
        if not listed.isdigit() or int(listed) not in self._lists:
            return _errors("1013", "Object not found")
        if len(waiting) >= QUEUED:
            return _errors("1016", "Too many imports")
        if int(listed) in {job.listed for job in waiting}:
            return _errors("1019", "Import in progress")
        rows = list(csv.DictReader(io.StringIO(content)))
        by = request.query.get("lookupField", "email")
        self._imports.append(Import(request.at + TAKES, int(listed), rows, by))
        return _job({"batchId": len(self._imports), "importId": str(len(self._imports)), "status": "Queued"})

    def import_status(self, request: Request, job: str) -> Answer:
        found = self._import(job)
        if found is None:
            return _errors("1013", "Object not found")
        many = {"numOfLeadsProcessed": len(found.rows) - len(found.failed), "numOfRowsFailed": len(found.failed)}
        return _job(
            {"batchId": int(job), "status": "Complete" if found.done else "Importing", **(many if found.done else {})}
        )

    def import_failures(self, request: Request, job: str) -> Answer:
        """A file, in spite of its name."""
        found = self._import(job)
        if found is None:
            return _errors("1013", "Object not found")
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([[*found.rows[0], "Import Failure Reason"], *found.failed])
        return Answer(200, msgspec.Raw(out.getvalue().encode()))

    def _import(self, job: str) -> Import | None:
        return self._imports[int(job) - 1] if job.isdigit() and 0 < int(job) <= len(self._imports) else None


def _file(request: Request) -> str | None:
    """The content of the part `file`."""
    boundary = re.search(r"boundary=(\S+)", request.headers.get("content-type", ""))
    for part in request.body.split(f"--{boundary[1]}".encode()) if boundary else []:
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return content.removesuffix(b"\r\n").decode()
    return None


def _asset(result: list[dict[str, Any]]) -> Answer:
    empty = {"warnings": ["No assets found for the given search criteria."]}
    return Answer(200, {"success": True, "errors": [], "requestId": "1", **({"result": result} if result else empty)})


def _job(result: dict[str, Any]) -> Answer:
    return Answer(200, {"requestId": "1", "success": True, "result": [result]})


def _errors(code: str, words: str) -> Answer:
    return Answer(200, {"requestId": "1", "success": False, "errors": [{"code": code, "message": words}]})


def _skipped(id: int, code: str, words: str) -> dict[str, Any]:
    return {"id": id, "status": "skipped", "reasons": [{"code": code, "message": words}]}
