"""The errors that LEVER foresees; a script turns each into one line and exit code 2."""

# What to do about a library that can't be used.
PREPARE = "run: python pi2vec_preparation.py"
REBUILD = f"{PREPARE} --force"


class LeverError(Exception):
    """Something the user can mend; the text reads "what is wrong; what to do"."""


class UnusableRecording(LeverError):
    """A recorded run or episode that can't be used; preparation names it and goes on."""


class UnusableLibrary(LeverError):
    """The prepared library is missing, incomplete or unreadable."""
