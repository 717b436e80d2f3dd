"""The structure that the packages' `__init__.py` write down, and the one list of dependencies."""

import ast
import importlib
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from train.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGES = ("landmark_models", "train")


def modules(package: str) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    names = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imported(file: Path, known: dict[str, Path], everywhere: bool) -> set[str]:
    """The modules of the project that a file imports: at its top level, or everywhere in it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {name if (name := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_imports_only_from_its_room_and_from_those_before_it(package):
    order = importlib.import_module(package).IMPORT_ORDER
    known = modules(package)
    rooms = {name.split(".")[1] for name in known if "." in name}
    assert rooms == set(order)
    wrong = []
    for name, file in known.items():
        if "." not in name:
            continue  # the package itself hands on public names
        room = "__main__" if name.endswith(".__main__") else name.split(".")[1]  # a room's commands
        for other in imported(file, known, everywhere=True) - {package}:
            if order.index(other.split(".")[1]) > order.index(room):
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    known = modules("landmark_models") | modules("train")
    graph = {name: imported(file, known, everywhere=False) - {name} for name, file in known.items()}
    for name, others in graph.items():  # importing a module imports the packages that it is in
        graph[name] = others - {name.rpartition(".")[0]}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_service_never_imports_training_and_gradio_only_in_the_page():
    for name, file in modules("landmark_models").items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        roots = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        roots |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert "train" not in roots, name
        assert "gradio" not in roots or name.startswith("landmark_models.page."), name


def test_training_imports_the_datasets_library_only_where_it_reads_or_makes_one():
    for name, file in modules("train").items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        roots = {(getattr(node, "module", None) or node.names[0].name).split(".")[0] for node in nodes}
        assert not roots & {"datasets", "pyarrow"}, name


def test_requirements_txt_is_all_that_pyproject_lists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = set(project["dependencies"]).union(*project["optional-dependencies"].values())
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == listed


def test_every_command_is_listed():
    commands = {file.stem for file in (ROOT / "train").glob("*.py") if "__main__" in file.read_text(encoding="utf-8")}
    assert commands - {"__init__", "__main__"} | {"data"} == set(COMMANDS)


def test_the_list_of_commands_names_the_nearest_to_a_mistake():
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "train", *arguments], capture_output=True, text=True, cwd=ROOT)

    assert "evaluate" in run().stdout
    mistake = run("evaluat")
    assert mistake.returncode == 2
    assert "Did you mean evaluate?" in mistake.stderr
