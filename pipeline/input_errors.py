"""What is said of input that cannot be used."""

from pipeline.problems import Ending


class InputError(Ending):
    """A file that stops the run before anything is sent."""

    def __init__(self, file: str, wrong: str, advice: str) -> None:
        super().__init__(file, wrong, advice)
        self.file = file
        self.wrong = wrong
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.file}: {self.wrong}; {self.advice}"


class WrongPattern(InputError):
    """What was asked for cannot be read here, whatever is in the files: a mistake in the command or the set-up."""

    code = 1


def one_line(error: BaseException) -> str:
    """What an error says."""
    text = getattr(error, "message", "") or str(error) or type(error).__name__
    return " ".join(str(text).split())[:300]
