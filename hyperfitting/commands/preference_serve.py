"""`hyperfitting preference serve`: the page of a study for its annotators."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ..options import REQUIRED, Options, option
from ..preference.page import PageOptions
from ..preference.server.clients import Proxies
from ..preference.server.serving import Address, Serving, serve
from .command_line import read_command_line
from .reporting import run_reporting_errors

EPILOG = """examples:
  hyperfitting preference serve studies/one
  hyperfitting preference serve studies/one --register 20 --completion_code C1A2B3 --public_url https://study.example.org
"""


@dataclass(kw_only=True)
class ServeOptions(PageOptions, Options):
    """Who is let in, and where."""

    study: str = option(
        REQUIRED, "Folder of `hyperfitting preference build`.", words="positional", metavar="STUDY", path=True
    )
    host: str = option("127.0.0.1", "Address to listen on; the default is reached from this machine alone.")
    port: int = option(8017, "Port to listen on; 0: any that is free.", least=0, greatest=65535)
    public_url: str | None = option(
        None,
        "Address that annotators use when it is not that of host and port, such as of a proxy with TLS.",
        metavar="URL",
    )
    forwarded_allow_ips: str | None = option(
        None,
        "Addresses or networks of proxies, with commas between them, whose X-Forwarded-For says who asks; default: none is believed.",
        metavar="LIST",
    )
    register: int = option(
        0,
        "People without a link who may take a place; 0: none. The last places are theirs, but for those whose link was shown.",
        least=0,
    )
    completion_code: str | None = option(None, "Shown to those who have answered everything, as Prolific asks for.")


def main(arguments: list[str] | None = None) -> int:
    """Serve; returns the exit code: 0 after SIGTERM or Ctrl-C, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting preference serve",
        about="Serve a study to its annotators: one secret link each, votes stored one by one.",
        epilog=EPILOG,
        options=ServeOptions,
    )
    from ..terminal import Progress, make_console, printable

    page = PageOptions.of(options)
    address = Address(options.host, options.port, options.public_url)
    proxies = Proxies(options.forwarded_allow_ips)
    serving = Serving(address, page, places=options.register, code=options.completion_code, proxies=proxies)
    console = make_console()
    with Progress(console, first=60, interval=600) as progress:
        serve(Path(options.study), serving, lambda line: console.print(printable(line), soft_wrap=True), progress)


if __name__ == "__main__":
    sys.exit(main())
