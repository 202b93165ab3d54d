"""The one exception that is the user's to fix."""


class UserError(ValueError):
    """Something that the user can change; the message says what. The command line prints it without a traceback."""


class TrainingError(RuntimeError):
    """The run cannot go on: a non-finite loss, a skipped step, a saved model that does not load as it was."""
