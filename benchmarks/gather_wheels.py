"""Gather the wheels that a machine without a network needs to run this repository: what is missing there, or too old.

    python3 -m pip list --format freeze > installed.txt                                        # on that machine
    python benchmarks/gather_wheels.py installed.txt --python_version 3.12 --output_dir wheels   # on one with a network
    python3 -m pip install --no-index --no-deps --target site wheels/*.whl                      # on that machine again
    PYTHONPATH=site:REPOSITORY python3 launch/hyperfit.py …

Requirements are those of setup.cfg and, with --extra, of its extras. What is installed there stays where it satisfies them. DeepSpeed
comes as source and is built here, without its compiled operators; nothing else is.
"""

import argparse
import configparser
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from hyperfitting.commands.reporting import run_reporting_errors
from hyperfitting.errors import UserError

SETUP = Path(__file__).parent.parent / "setup.cfg"
FROM_SOURCE = {"deepspeed"}


def required(extras: list[str]) -> list[Requirement]:
    """What setup.cfg asks for."""
    config = configparser.ConfigParser()
    config.read(SETUP)
    known = config["options.extras_require"]
    if unknown := [extra for extra in extras if extra not in known]:
        raise UserError(f"setup.cfg has no extra {unknown[0]!r}: there are {', '.join(known)}")
    lines = [config["options"]["install_requires"], *(known[extra] for extra in extras)]
    return [Requirement(line) for part in lines for line in part.split("\n") if line.strip()]


def read_installed(path: Path) -> dict[str, Version]:
    """Name -> version of the lines `name==version`; what was installed from a folder or an address has none and is left out."""
    pairs = [line.split("==") for line in path.read_text(encoding="utf-8").splitlines() if line.count("==") == 1]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def fetch(requirement: Requirement, python: str, glibc: str, folder: Path) -> Path:
    """The wheel of the newest release that satisfies it, without what it needs in turn."""
    name, text = canonicalize_name(requirement.name), f"{requirement.name}{requirement.specifier}"
    before = set(folder.glob("*.whl"))
    if name in FROM_SOURCE:
        command = ["wheel", "--no-deps", "--wheel-dir", folder, text]
    else:
        low = range(17, int(glibc.split(".")[1]) + 1)  # pip matches each platform to the letter
        platforms = [f"manylinux_2_{minor}_x86_64" for minor in low] + ["manylinux2014_x86_64", "manylinux1_x86_64"]
        target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
        target += [word for platform in platforms for word in ("--platform", platform)]
        command = ["download", "--no-deps", *target, "--dest", folder, text]
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, command), "--quiet"], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"no wheel of {text} for Python {python}: {done.stderr.strip().splitlines()[-1]}")
    made = set(folder.glob("*.whl")) - before
    here = made or {wheel for wheel in before if parse_wheel_filename(wheel.name)[0] == name}
    return here.pop()


def needs_of(wheel: Path, extras: set[str], python: str) -> list[Requirement]:
    """Requirements of a wheel that hold on Linux under that Python."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(member for member in archive.namelist() if member.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(name).decode())
    there = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    there |= {"platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"}
    found = [Requirement(line) for line in fields.get_all("Requires-Dist") or []]
    return [
        need
        for need in found
        if need.marker is None or any(need.marker.evaluate({**there, "extra": extra}) for extra in extras | {""})
    ]


def gather(installed: dict[str, Version], wanted: list[Requirement], python: str, glibc: str, folder: Path) -> None:
    """Fetch what is missing, and what that needs in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting, there = list(wanted), dict(installed)
    while waiting:
        requirement = waiting.pop(0)
        name = canonicalize_name(requirement.name)
        version = there.get(name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            continue
        if version is not None and version != installed.get(name):
            raise UserError(f"{name} {version} was fetched for one package, and another needs {requirement}")
        wheel = fetch(requirement, python, glibc, folder)
        there[name] = parse_wheel_filename(wheel.name)[1]
        print(f"{wheel.name}: {'missing' if version is None else f'{version} is there'}, {requirement} needed")
        waiting += needs_of(wheel, requirement.extras, python)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "installed", type=Path, help="`pip list --format freeze` of the machine; an empty file for none"
    )
    parser.add_argument("--python_version", required=True, help="of the machine, such as 3.12")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--extra", action="append", default=[], help="of setup.cfg, such as dev; repeatable")
    parser.add_argument("--glibc", default="2.28", help="newest C library that wheels may need [%(default)s]")
    args = parser.parse_args(arguments)
    if not args.installed.is_file():
        raise UserError(f"{args.installed} does not exist: `pip list --format freeze` writes it")
    gather(read_installed(args.installed), required(args.extra), args.python_version, args.glibc, args.output_dir)
    wheels = sorted(args.output_dir.glob("*.whl"))
    print(f"{len(wheels)} wheels, {sum(w.stat().st_size for w in wheels) / 1e6:.0f} MB in {args.output_dir}")


if __name__ == "__main__":
    sys.exit(run_reporting_errors(main, None))
