"""Finding input files: what a pattern takes, what it passes over, and what is said of it."""

import json
from pathlib import Path

import pytest

from pipeline.files import InputError, WrongPattern, find_files, missing_extra
from pipeline.inputs import read_blocks

PART = json.dumps({"type": "delete", "profile_id": "p1", "at": "1998-03-31T12:00:00Z"}).encode()


def write(folder: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def found(folder: Path, *patterns: str) -> list[str]:
    """What patterns below a folder find, without the folder."""
    files = find_files([f"{folder}/{pattern}" for pattern in patterns]).files
    return [str(Path(file).relative_to(folder)) for file in files]


def test_globs_are_sorted_and_each_file_comes_once(tmp_path: Path) -> None:
    write(tmp_path, "b.jsonl", "a.jsonl", "c.avro")
    assert ["a.jsonl", "b.jsonl", "c.avro"] == found(tmp_path, "*.jsonl", "a.*", "./c.avro")


def test_a_pattern_without_a_folder_looks_where_the_command_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.jsonl", ".b.jsonl", "sub/c.jsonl")
    monkeypatch.chdir(tmp_path)
    assert (["a.jsonl"], ["skipped 1 file whose name begins with . or _: .b.jsonl"]) == find_files(["*.jsonl"])
    assert ["a.jsonl", "sub/c.jsonl"] == find_files(["**"]).files


def test_a_pattern_that_matches_nothing_yet_is_a_note(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl")
    patterns = [f"{tmp_path}/none-*.jsonl", f"{tmp_path}/a.jsonl", f"{tmp_path}/nowhere/*"]
    notes = [f"{tmp_path}/none-*.jsonl: no file matches yet", f"{tmp_path}/nowhere/*: no file matches yet"]
    assert ([f"{tmp_path}/a.jsonl"], notes) == find_files(patterns)


def test_a_file_that_is_named_and_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: there is no such file; correct the path"):
        find_files([f"{tmp_path}/none.jsonl"])


def test_a_file_whose_name_has_brackets_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, "a[1].jsonl", "a1.jsonl")
    assert ["a[1].jsonl"] == found(tmp_path, "a[1].jsonl")


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongPattern, match=r"it is a directory; name the files in it: .*/\*"):
        find_files([str(tmp_path)])
    with pytest.raises(WrongPattern, match=r"it is a directory; name the files in it: s3://bucket/events/\*"):
        find_files(["s3://bucket/events/"])


# -- what other programs leave beside events

LEFT = ("_SUCCESS", ".part-0000.json.crc", ".DS_Store", ".part-0000.json.swp", "_temporary/0/part-0002.json")


def test_what_other_programs_leave_beside_events_is_skipped_and_told(tmp_path: Path) -> None:
    write(tmp_path, "part-0000.json", "day/part-0001.json", content=PART)
    write(tmp_path, "part.json.gz")
    write(tmp_path, *LEFT, content=b"\x00\x01")
    assert ["part-0000.json", "part.json.gz"] == found(tmp_path, "*")
    assert ["day/part-0001.json", "part-0000.json", "part.json.gz"] == found(tmp_path, "**")
    files, [note] = find_files([f"{tmp_path}/**"])
    names = ".DS_Store, .part-0000.json.crc, .part-0000.json.swp, _SUCCESS, _temporary/0/part-0002.json"
    assert f"skipped 5 files whose names begin with . or _: {names}" == note
    assert [PART, PART] == [line for file in files for _, lines in read_blocks(file) for line in lines]


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("_SUCCESS", ["_SUCCESS"]),
        ("_S*", ["_SUCCESS"]),
        ("[_.]SUCCESS", ["_SUCCESS"]),
        ("?SUCCESS", []),
        ("*SUCCESS", []),
        ("_temporary/0/*", ["_temporary/0/part-0002.json"]),
        ("_temporary/**", ["_temporary/0/part-0002.json"]),
        ("**/_temporary/**", ["day/_temporary/x.json"]),
        ("_*/0/*", ["_temporary/0/part-0002.json"]),
        ("*/0/*", []),
    ],
)
def test_what_is_named_without_a_wildcard_is_taken(tmp_path: Path, pattern: str, files: list[str]) -> None:
    write(tmp_path, *LEFT, "day/_temporary/x.json", "day/_temporary/_x.json")
    assert files == found(tmp_path, pattern)


def test_a_folder_above_the_pattern_may_be_hidden(tmp_path: Path) -> None:
    write(tmp_path, ".cache/_events/a.jsonl")
    assert ["a.jsonl"] == found(tmp_path / ".cache" / "_events", "*.jsonl")


def test_what_one_pattern_passes_over_and_another_names_is_not_skipped(tmp_path: Path) -> None:
    write(tmp_path, "_a.jsonl")
    assert ([f"{tmp_path}/_a.jsonl"], []) == find_files([f"{tmp_path}/_a.jsonl", f"{tmp_path}/_*"])
    files, notes = find_files([f"{tmp_path}/*", f"{tmp_path}/_a.jsonl"])
    assert ([f"{tmp_path}/_a.jsonl"], [f"{tmp_path}/*: no file matches yet"]) == (files, notes)


def test_of_many_skipped_files_some_are_named(tmp_path: Path) -> None:
    write(tmp_path, *(f"{day}/{name}" for day in "ab" for name in ("_SUCCESS", "_a", "_b", "_c", "_d", "_e", "_f")))
    [_, note] = find_files([f"{tmp_path}/*/*"]).notes
    assert "skipped 14 files whose names begin with . or _: _SUCCESS, _a, _b, _c, _d and 2 more names" == note


# -- file systems


def test_a_file_system_that_is_not_known_is_named() -> None:
    said = (
        r"nowhere://bucket/a\.jsonl: files cannot be read from nowhere://; write a local path, or one of s3://, gs://"
    )
    with pytest.raises(WrongPattern, match=said):
        find_files(["nowhere://bucket/a.jsonl"])


@pytest.mark.parametrize(
    ("scheme", "installed", "extra"),
    [
        ("s3", False, "aws"),
        ("gs", False, "gcp"),
        ("s3", True, ""),
        ("gs", True, ""),
        ("", False, ""),
        ("nowhere", False, ""),
    ],
)
def test_which_extra_is_missing(scheme: str, installed: bool, extra: str) -> None:
    assert extra == missing_extra(scheme, lambda module: installed)


def test_without_its_extra_a_pattern_says_what_to_install() -> None:
    with pytest.raises(WrongPattern) as caught:
        find_files(["gs://bucket/*"])
    said = "gs://bucket/*: what reads gs:// is not installed; install it: pip install 'apache-beam[gcp]'"
    assert said == str(caught.value)
