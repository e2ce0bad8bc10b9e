"""The errors that LEVER foresees; a script turns each into one line and exit code 2."""


class LeverError(Exception):
    """Something the user can mend; the text reads "what is wrong; what to do"."""


class UnusableTrajectory(LeverError):
    """A recorded run or episode that can't be used; preparation names it and goes on."""


class UnusableLibrary(LeverError):
    """The prepared library is missing, incomplete or unreadable."""
