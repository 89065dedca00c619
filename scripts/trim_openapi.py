"""Trims vendors' API descriptions to what is asked of them: `python -m scripts.trim_openapi FOLDER`.

FOLDER has a description of each vendor, `<vendor>.json`, whole. Written is `tests/data/openapi/<vendor>.json`: the
operations that `tests/data/openapi/kept.yaml` names, with their parameters, bodies and schemas; without answers, texts
and examples. What a file says stays the same for the same FOLDER.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parents[1] / "tests" / "data" / "openapi"
NAMED = ("properties", "patternProperties", "$defs")  # their keys are names, and no words of JSON Schema
AS_IS = ("enum", "const", "required", "type", "pattern", "$ref")
LEFT_OUT = (
    "default", "deprecated", "description", "discriminator", "example", "examples", "externalDocs", "readOnly",
    "summary", "title", "writeOnly", "xml",
)  # fmt: skip


def trimmed(whole: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """A description with the operations that are kept, and the schemas that they lead to."""
    paths: dict[str, Any] = {}
    for operation in kept["operations"]:
        method, path = operation.split(" ", 1)
        described = whole["paths"].get(path, {}).get(method.lower())
        if described is None:
            raise SystemExit(f"{whole['x-adapted']['slug']}: the description has no {operation}")
        paths.setdefault(path, {})[method.lower()] = _operation(described)
    for path, item in kept.get("added", {}).items():
        paths.setdefault(path, {}).update(item)
    return {
        "openapi": "3.1.0",
        "info": {"title": whole["info"]["title"], "version": whole["info"]["version"], "license": kept["license"]},
        "x-adapted": whole["x-adapted"],
        "servers": [{"url": each["url"]} for each in whole["servers"]],
        "paths": paths,
        "components": {"schemas": _reached(paths, whole["components"].get("schemas", {}))},
    }


def _operation(described: Mapping[str, Any]) -> dict[str, Any]:
    """Of one operation, what a request has to keep to."""
    made: dict[str, Any] = {key: value for key, value in described.items() if key in ("security", "x-adapted-auth")}
    if parameters := described.get("parameters"):
        made["parameters"] = [
            {
                **{key: each[key] for key in ("name", "in", "required") if key in each},
                "schema": schema(each.get("schema") or {}),
            }
            for each in parameters
        ]
    if body := described.get("requestBody"):
        content = {kind: {"schema": schema(media.get("schema") or {})} for kind, media in body["content"].items()}
        made["requestBody"] = {**{key: value for key, value in body.items() if key not in LEFT_OUT}, "content": content}
    return made


def schema(given: Any) -> Any:
    """As JSON Schema 2020-12 has it, for requests.

    Several descriptions say `oneOf` where two of them may hold; it is read as `anyOf`. Of formats only `date-time` is
    kept: the others are words of each vendor's own.
    """
    if isinstance(given, list):
        return [schema(each) for each in given]
    if not isinstance(given, dict):
        return given
    made: dict[str, Any] = {}
    for word, value in given.items():
        if word in NAMED:
            made[word] = {name: schema(each) for name, each in value.items()}
        elif word in AS_IS:
            made[word] = value
        elif word == "format":
            made |= {word: value} if value == "date-time" else {}
        elif word == "oneOf":
            made.setdefault("allOf", []).append({"anyOf": schema(value)})
        elif word not in LEFT_OUT and word != "nullable" and not word.startswith("x-"):
            made[word] = made[word] + schema(value) if word == "allOf" and word in made else schema(value)
    return {"anyOf": [made, {"type": "null"}]} if given.get("nullable") else made


def _reached(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas that are named in these paths, or in one another."""
    found: dict[str, Any] = {}
    waiting = [*_named(paths)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = schema(schemas[name])
            waiting += _named(found[name])
    return dict(sorted(found.items()))


def _named(part: Any) -> Iterator[str]:
    yield from re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(part))


def main(arguments: Iterable[str]) -> int:
    folders = [Path(each) for each in arguments]
    if len(folders) != 1 or not folders[0].is_dir():
        print(f"{__doc__}\nExpected one folder.", file=sys.stderr)
        return 1
    for vendor, kept in yaml.safe_load((HERE / "kept.yaml").read_text("utf-8")).items():
        whole = json.loads((folders[0] / f"{vendor}.json").read_text("utf-8"))
        text = json.dumps(trimmed(whole, kept), indent=1, ensure_ascii=False)
        (HERE / f"{vendor}.json").write_text(text + "\n", "utf-8")
        print(f"{vendor}: {len(kept['operations'])} operations, {len(text) // 1024:,} KB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
