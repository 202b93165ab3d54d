"""The floor plan of docs/architecture.md: imports point down only."""

import ast
from pathlib import Path

import hyperfitting

PACKAGE = Path(hyperfitting.__file__).parent
# From the ground up. What stands on one line knows only what stands on the lines before it, or earlier on its own.
FLOORS = (
    (
        "errors",
        "removal",
        "files",
        "terminal",
        "processes",
        "options",
        "builtin",
        "model_folder",
        "host_memory",
        "hardware",
    ),
    ("models", "codec", "documents", "corpus", "records"),
    ("scoring",),
    ("generation",),
    ("training",),
    ("planning", "preference", "conversion"),
    ("report",),
    ("commands",),
)
ROOMS = [room for floor in FLOORS for room in floor]


def imported_rooms(file: Path) -> set[str]:
    """The rooms of the package that a file imports from, anywhere in it."""
    package = ["hyperfitting", *file.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{name}.{alias.name}" for alias in node.names] if name == "hyperfitting" else [name]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("hyperfitting.")}
    return found - {"__version__"}


def test_imports_point_down():
    up = []
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            up += [f"{file.relative_to(PACKAGE)} imports {other}" for other in sorted(imported_rooms(file) - {room})
                   if ROOMS.index(other) > ROOMS.index(room)]  # fmt: skip
    assert not up


def test_every_room_is_on_the_plan_and_the_ground_is_small():
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert modules | folders == set(ROOMS)
    assert len(modules) <= 12
