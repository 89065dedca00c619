"""What a run says of records that it could not use, and whether they are too many."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from pipeline.commands.arguments import Bound
from pipeline.commands.output import counted
from schemas.dead_letters import BAD_RECORD, DeadLetter
from schemas.input_counts import InputCounts

# What is below a value, or is no name as traits have them, may be a person's: an address as a key, for instance.
_OPEN = re.compile(r"(\$\.value|\$\.traits(?:\.[^\W\d]\w*(?![^.\[]))?).*", re.DOTALL)


def by_reason(letters: Iterable[DeadLetter]) -> tuple[Counter[str], dict[str, DeadLetter]]:
    """How many records each reason kept out, and the first example of each."""
    counts: Counter[str] = Counter()
    examples: dict[str, DeadLetter] = {}
    for letter in letters:
        if letter.reason in BAD_RECORD:
            counts[letter.reason] += 1
            examples.setdefault(letter.reason, letter)
    return counts, examples


def explain(counts: Mapping[str, int], examples: Mapping[str, DeadLetter]) -> Iterator[str]:
    """A line for each reason, the most frequent first; nothing of what the records say."""
    for reason, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        example = examples.get(reason)
        yield f"{number:,} {reason}{f': {_example(example)}' if example else ''}"


def _example(letter: DeadLetter) -> str:
    field = _OPEN.sub(r"\1", letter.field)
    question = letter.expected.endswith("?")
    expected = letter.expected if question or not letter.expected else f"expected {letter.expected}"
    said = "; ".join(part for part in (field, expected, f"for example {_place(letter)}") if part)
    return f"{said}. {letter.advice[:1].upper()}{letter.advice[1:]}."


def _place(letter: DeadLetter) -> str:
    if letter.line is not None:
        return f"{letter.source} line {letter.line}"
    return letter.source if letter.record is None else f"{letter.source} record {letter.record}"


def verdict(counts: InputCounts, max_bad: Bound | None, whole: bool = True) -> str:
    """Why the run is no success though it ended well; "" where it is one.

    A file in which nothing can be used is another file than was meant, whatever the limit says. Not `whole`: only
    what was bad of the files was read.
    """
    sentences = []
    useless = [source for source, (read, bad) in sorted(counts.sources.items()) if read and bad == read]
    if useless and whole:
        others = f" and {counted(len(useless) - 1, 'other file')}" if len(useless) > 1 else ""
        sentences.append(f"{useless[0]}{others}: none of the records could be used.")
    if max_bad is not None and max_bad.exceeded(counts.bad, counts.read):
        unusable = f"{counts.bad:,} of {counted(counts.read, 'record')} could not be used"
        sentences.append(f"{unusable}; --max-bad is {max_bad}.")
    return " ".join(sentences)
