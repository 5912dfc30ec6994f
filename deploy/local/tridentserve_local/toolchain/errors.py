"""The one error of the toolchain.

Not a branch of `tridentserve.errors`, which cannot be imported before the project is installed.
"""


class ToolMissingError(Exception):
    """A program is not there and could not be brought; `command` is what a person can run."""

    def __init__(self, tool: str, problem: str, command: str) -> None:
        """Say in one sentence what is missing and why, and name the command that helps."""
        super().__init__(f"{tool} is missing: {problem}; run: {command}")
        self.tool = tool
        self.problem = problem
        self.command = command
