"""Names of steps and of state cells are the names under which an engine keeps a job's state."""

import re

from scripts.streaming_steps import PAGE, digest, names, page


def test_steps_of_the_streaming_job_are_those_that_are_written_down() -> None:
    written = PAGE.read_text("utf-8")
    assert written == page(), (
        "a job that runs would lose its state by another name of a step or a cell: if that is meant, write a decision, "
        "say it in CHANGELOG.md, and run `make docs`"
    )


def test_the_newest_decision_about_their_names_is_about_these() -> None:
    decisions = sorted((PAGE.parent / "decisions").glob("*.md"))
    digests = re.findall(
        r"streaming_steps\.txt\), digest `(\w+)`", "".join(each.read_text("utf-8") for each in decisions)
    )
    assert digests[-1] == digest(), (
        "docs/streaming_steps.txt is another one than the newest decision speaks of: write a decision that says why, "
        f"with 'are those of [streaming_steps.txt](../streaming_steps.txt), digest `{digest()}`'"
    )


def test_each_client_profile_account_and_part_has_one_cell_of_one_step() -> None:
    assert [
        "Read/Turn/Turn  state: place",
        "FoldAccounts/Heads/Heads  state: account",
        "FoldAccounts/Parts/Parts  state: part",
        "FoldProfiles/Fold/Fold  state: profile",
    ] == [name for name in names() if "state:" in name]


def test_no_step_of_ours_is_named_after_a_class_or_a_line_of_code() -> None:
    ours = [name for name in names() if not name.startswith("Read/Begin/")]  # what is inside is Beam's
    assert [] == [name for name in ours if "(" in name or "<" in name]


def test_nothing_comes_behind_a_fold_but_another_fold() -> None:
    """What is told of a profile is written in its order, and engines keep none from one step to the next.

    `Rest` gets nothing: it is there so that Prism does not spin.
    """
    assert ["FoldProfiles/Fold/Fold  state: profile", "Rest"] == names()[-2:]
    behind = names()[names().index("FoldAccounts/Heads/Heads  state: account") + 1 :]
    assert {"FoldAccounts", "FoldProfiles", "AboutProfiles", "Rest"} == {name.split("/")[0] for name in behind}
