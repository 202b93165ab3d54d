"""`hyperfitting policies`: the decoding policies, with their parameters."""

from .command_line import read_command_line
from .reporting import run_reporting_errors


def main(arguments: list[str] | None = None) -> int:
    """List the policies; returns the exit code."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    about = "Decoding policies, for `hyperfitting generate --policy`, with the defaults of their parameters."
    read_command_line(arguments, command="hyperfitting policies", about=about)
    from ..generation.policies import BLOCKER, POLICIES, Policy

    for name, policy in POLICIES.items():
        print(f"{Policy.parse(name).signature:46}{policy.description}")
    print(f"+{BLOCKER} can be added to each; parameters are set as in nucleus(p=0.95).")
