"""What goes wrong on the tensor floor, as one line that says what was given, what is allowed and what to do."""


class OptionError(ValueError):
    """An option, or a combination of options, that makes no sense; names the option to change."""


class ModelError(ValueError):
    """A file that is no model, or data that does not fit the model."""


class TrainingError(RuntimeError):
    """A training run that cannot go on, with advice."""
