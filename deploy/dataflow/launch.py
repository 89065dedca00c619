"""What the launcher of the Flex Template runs: parameters of the template become `profilecast run --streaming …`."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp

TEXTS = ("log", "start", "partitions")
FILES = ("workspace", "kafka_options")  # gs://… or a path
SWITCHES = ("bootstrap", "accept_changes", "mask_dead_letters")  # true or false
SEVERAL = ("events",)  # with blanks between them


def command(given: Sequence[str], fetched: Callable[[str], str]) -> list[str]:
    """The arguments of `profilecast`. What is no parameter of ours is an option of Beam. Raises ValueError."""
    ours, beam = ["run", "--streaming", "--runner=DataflowRunner"], []
    for argument in given:
        name, _, value = argument.removeprefix("--").partition("=")
        option = f"--{name.replace('_', '-')}"
        if name in SWITCHES:
            ours += [option] if _on(name, value) else []
        elif name in FILES and value:
            ours.append(f"{option}={fetched(value)}")
        elif name in TEXTS and value:
            ours.append(f"{option}={value}")
        elif name in SEVERAL:
            ours += [option, *value.split()]
        elif name not in ("runner", *FILES, *TEXTS):
            beam.append(argument)
    return ours + beam


def _on(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", ""):
        raise ValueError(f"{name}: {value!r} is neither true nor false")
    return value.lower() == "true"


def fetch(place: str) -> str:
    """A copy of the file on this machine; its path."""
    from apache_beam.io.filesystems import FileSystems

    copy = Path(mkdtemp()) / place.rpartition("/")[2]
    with FileSystems.open(place) as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target)
    return str(copy)


if __name__ == "__main__":
    import credentials

    from pipeline.cli import main

    credentials.fill(os.environ)
    sys.exit(main(command(sys.argv[1:], fetch)))
