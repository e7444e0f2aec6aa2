"""What goes wrong with a user's files, as one line that says what was given, what is allowed and what to do."""


class InputError(ValueError):
    """A file, a folder or a piece of music that cannot serve. Its message is one line, meant for the user."""


class MachineError(InputError):
    """Not what was given cannot serve, but the machine: its disk is full, say. What has been done is kept."""
