"""The architecture's floors: imports point down, and the front door imports nothing."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "callmeter"

FLOORS = {
    "types": 0, "errors": 0, "settings": 0, "shapes": 0, "clock": 0, "faultpoints": 0, "context": 0, "wire": 0,
    "integrations": 0, "records": 0, "results": 0,
    "events": 1, "pricing": 1, "transport": 1,
    "sinks": 2, "tap": 2, "caching": 2,
    "delivery": 3, "runtime": 3, "ledger": 3, "repricing": 3, "traffic": 3,
    "client": 4,
    "gateway": 5, "dashboards": 5,
    "cli": 6, "testing": 6, "__main__": 6,
}  # fmt: skip
SEPARATE = [{"events", "pricing", "transport"}, {"gateway", "dashboards"}]
"""Neighbours on one floor that do not import each other."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "callmeter" and len(parts) > 1 else None


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "callmeter" else set()
            found.add(node.module)
    return found


def arrows() -> list[tuple[str, str, str]]:
    """Every import between rooms: file, room it stands in, room it reaches for."""
    found = []
    for path in modules():
        relative = path.relative_to(PACKAGE)
        here = relative.parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for target in imports(path):
            there = room(target)
            if there is not None and there != here and there in FLOORS:
                found.append((str(relative), here, there))
    return found


def test_every_module_stands_on_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()} - {"__init__"}
    assert rooms <= FLOORS.keys()


def test_there_are_arrows_to_look_at() -> None:
    assert len(arrows()) > 30


def test_no_import_points_up() -> None:
    assert [f"{file}: {a} → {b}" for file, a, b in arrows() if FLOORS[b] > FLOORS[a]] == []


@pytest.mark.parametrize("rooms", SEPARATE, ids=lambda rooms: "+".join(sorted(rooms)))
def test_neighbours_do_not_import_each_other(rooms: set[str]) -> None:
    assert [f"{file}: {a} → {b}" for file, a, b in arrows() if a in rooms and b in rooms] == []


def test_the_front_door_imports_nothing() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)] == []
