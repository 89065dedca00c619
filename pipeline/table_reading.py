"""Reading one table in a process of its own, while a service serves.

So its memory is given back, it can be ended at any moment, a query that takes the machine's memory ends nothing else,
and what is folded meanwhile does not share an interpreter with it. The two speak through a folder.
"""

import os
import pickle
import shutil
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeline.children import die_with_parent
from pipeline.disk import StoreError, private
from pipeline.input_errors import InputError
from pipeline.sources import FOLDER, Tables, make_scratch, read_all
from pipeline.tables import place_of
from schemas.workspace import Source

_WANTED, _OUTCOME = "wanted", "outcome"
_NICE = 5  # deliveries go first


class Wanted(NamedTuple):
    """What is to be read. Its secrets are names of environment variables."""

    source: Source
    computed: frozenset[str]
    state: Path
    numbers: Mapping[str, int]  # as `numbers_of` the state says
    now: int  # microseconds since 1970


class Reading:
    """A table that is being read, until `end`."""

    def __init__(self, wanted: Wanted) -> None:
        """Raises StoreError."""
        self._place = place_of(wanted.source)
        self._folder = make_scratch(wanted.state / FOLDER)
        try:
            with open(self._folder / _WANTED, "wb", opener=private) as file:
                pickle.dump(wanted, file)
            command = [sys.executable, "-c", f"from {__name__} import main; main()", str(self._folder)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise StoreError(f"{self._place}: it cannot be read now: {error.strerror or error}") from error

    def outcome(self) -> Tables | str | None:
        """What was read, or why it cannot be, in words; None: not yet."""
        code = self._process.poll()
        if code is None:
            return None
        try:
            outcome: Tables | str = pickle.loads((self._folder / _OUTCOME).read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError):
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            return f"{self._place}: the process that read it {ended}; see the log, and that it has 2 GB of memory"
        return outcome

    def end(self) -> None:
        """End it if it goes on, and remove what it wrote."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(wanted: Wanted, folder: Path) -> Tables | str:
    try:
        return read_all([wanted.source], wanted.computed, wanted.state, wanted.numbers, wanted.now, folder)
    except (InputError, StoreError) as error:
        return str(error)
    except Exception:
        traceback.print_exc()
        return f"{place_of(wanted.source)}: it cannot be read; this is a fault in profilecast, its traceback is above"


def main() -> None:
    """What the process does: read what the folder says, and write there what came of it."""
    die_with_parent()
    with suppress(OSError):
        os.nice(_NICE)
    folder = Path(sys.argv[1])
    wanted: Wanted = pickle.loads((folder / _WANTED).read_bytes())
    with open(folder / _OUTCOME, "wb", opener=private) as file:
        pickle.dump(_read(wanted, folder), file)
