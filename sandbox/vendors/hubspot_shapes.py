"""HubSpot's bodies: errors, batches, and reading them."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sandbox.vendor import Answer, Request

MAX_INPUTS = 100

Item = dict[str, Any]


class Refusal(Exception):
    """The request is refused as a whole."""

    def __init__(self, status: int, category: str, words: str) -> None:
        super().__init__(words)
        self.answer = problem(status, category, words)


def problem(status: int, category: str, words: str, **more: Any) -> Answer:
    return Answer(
        status,
        {"status": "error", "message": words, "correlationId": "0" * 8, "category": category, **more},
    )


def invalid(name: str, error: str, words: str) -> Item:
    return {"isValid": False, "message": f'Property "{name}" {words}', "error": error, "name": name}


def not_found(missing: list[str]) -> Item:
    words = "Could not get some CONTACT objects, they may be deleted or not exist."
    body: Item = problem(404, "OBJECT_NOT_FOUND", words).json
    return {**body, "context": {"ids": missing}}


def batch(status: int, results: list[Any], errors: list[Any], at: float) -> Answer:
    body = {"status": "COMPLETE", "results": results, "startedAt": as_time(at), "completedAt": as_time(at)}
    if not errors:
        return Answer(status, body)
    return Answer(207, {**body, "numErrors": len(errors), "errors": errors})


def inputs(request: Request, most: int = MAX_INPUTS) -> list[Item]:
    items = request.object.get("inputs")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise Refusal(400, "VALIDATION_ERROR", "inputs must be an array of objects that is not empty")
    if len(items) > most:
        raise Refusal(400, "VALIDATION_ERROR", f"inputs may hold at most {most}")
    return items


def ids(request: Request) -> list[str]:
    keys = [item.get("id") for item in inputs(request)]
    if not all(isinstance(key, str) and key for key in keys):
        raise Refusal(400, "VALIDATION_ERROR", "every input needs an id, as text")
    return [str(key) for key in keys]


def distinct(keys: list[str]) -> None:
    repeated = [key for key, times in Counter(key.lower() for key in keys).items() if times > 1]
    if repeated:
        raise Refusal(400, "VALIDATION_ERROR", f"Duplicate IDs found in batch input: {repeated}. IDs must be unique")


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value)


def as_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
