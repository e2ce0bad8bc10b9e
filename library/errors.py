"""The errors that LEVER foresees; a script turns each into one line and exit code 2."""

# Commands that mend something: what follows `python` in the folder of the scripts.
Command = tuple[str, ...]
PREPARE: Command = ("pi2vec_preparation.py",)
REBUILD: Command = (*PREPARE, "--force")
GENERATE: Command = ("-m", "worlds.gridworld.generate_states")
LIST_POLICIES: Command = ("faiss_utils/view_faiss_db.py",)


class LeverError(Exception):
    """Something the user can mend; the text reads "what is wrong; what to do".

    Attributes:
        what: what is wrong; where there is no command, also what to do. It may end in a colon
            and say what the command is for.
        command: mends it. A script names it as it is to be pasted, on the user's workspace.
    """

    def __init__(self, what: str, command: Command = ()) -> None:
        """Say what is wrong, and which command of the suite mends it."""
        super().__init__(what, command)
        self.what, self.command = what, command

    def __str__(self) -> str:
        """Give the whole line, for a library in the folder of the scripts."""
        return self.line(" ".join(["python", *self.command]))

    def line(self, command: str) -> str:
        """Give the whole line, with the command as it is to be shown."""
        if not self.command:
            return self.what
        return (
            f"{self.what} {command}" if self.what.endswith(":") else f"{self.what}; run: {command}"
        )


class UnusableRecording(LeverError):
    """A recorded run or episode that can't be used; preparation names it and goes on."""


class UnusableLibrary(LeverError):
    """The prepared library is missing, incomplete or unreadable."""
