"""What is the user's to fix."""


class UserError(ValueError):
    """Something that the user can change; the message says what. The command line prints it without a traceback."""


class TrainingError(RuntimeError):
    """The run cannot go on: a non-finite loss, a skipped step, a saved model that does not load as it was."""


def broken_torchvision() -> str | None:
    """What is to be said where a torchvision is installed that does not go with torch; None where it does, or is not there.

    transformers imports it wherever it is installed, and then says that it cannot import a model class.
    """
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        return None
    except Exception as error:  # of another build: RuntimeError, ImportError, OSError
        reason = str(error).strip().splitlines()[0]
        return (
            f"torchvision is installed and does not go with this torch ({reason}), and transformers imports it: take it away with `pip "
            "uninstall torchvision`, which nothing here needs, or install the build that goes with your torch"
        )
    return None
