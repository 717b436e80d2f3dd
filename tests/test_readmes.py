"""The READMEs: their examples run, their commands take the options they name, their links lead somewhere."""

import argparse
import ast
import csv
import importlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from accelerate.commands.launch import launch_command_parser
from helpers.photos import noisy_photo, with_gps, write_data

from landmark_models.teaching import AddOn
from train.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
README, LIBRARY, TRAINING = READMES = ("README.md", "landmark_models/README.md", "train/README.md")
PAGES = (*READMES, "CONTRIBUTING.md", "CHANGELOG.md")
VARIABLES = {"RANK": "0", "HOST": "127.0.0.1", "rung": "1-baseline", "list": "list.000", "draw": "0"}  # first turns
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def text_of(file: str | Path) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def blocks(file: str, language: str) -> list[str]:
    return [code for name, code in CODE.findall(text_of(file)) if name == language]


def inline_code(file: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", CODE.sub("", text_of(file)))


def shell_commands(code: str) -> Iterator[list[str]]:
    """Each simple command of a shell script, as words, with loops in their first turn."""
    for name, value in VARIABLES.items():
        code = code.replace(f"${name}", value)
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|"):
                while words and (words[0] in ("do", "done") or re.match(r"[A-Z_]+=", words[0])):
                    words = words[1:]
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def our_command(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module that a command runs, with its arguments; None for a program that is not ours."""
    if words[:2] == ["accelerate", "launch"]:
        launch = accelerate_options().parse_args(words[2:])
        assert launch.module, words
        return launch.training_script, launch.training_script_args
    match words:
        case ["python", "app.py", *arguments]:
            return "app", arguments
        case ["python", "-m", "train", command, *arguments]:
            return f"train.{command}", arguments
        case ["python", "-m", module, *arguments] if module.split(".")[0] in ("train", "landmark_models"):
            return module, arguments
        case ["landmarks", *arguments]:
            return "landmark_models", arguments
    return None


def our_commands(file: str) -> list[tuple[str, list[str]]]:
    found = [our_command(words) for code in blocks(file, "bash") for words in shell_commands(code)]
    return [command for command in found if command]


def commands_in_order(file: str) -> list[tuple[str, list[str]]]:
    """The same, with those in sentences that name a run."""
    found = []
    for language, block, code in re.findall(rf"{CODE.pattern}|`([^`\n]+)`", text_of(file), CODE.flags):
        if language == "bash" or ("runs/" in code and "runs/..." not in code):
            found += [command for words in shell_commands(block or code) if (command := our_command(words))]
    return found


@cache
def accelerate_options() -> argparse.ArgumentParser:
    return launch_command_parser()


@cache
def click_command(name: str) -> Any:
    """A command as typer builds it; one with subcommands has `commands`."""
    package = name in ("landmark_models", "train.data")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(
            "GRADIO_TEMP_DIR", os.environ["GRADIO_TEMP_DIR"]
        )  # app.py moves it; pages of other tests are open
        module = importlib.import_module(f"{name}.__main__" if package else name)
    if isinstance(getattr(module, "app", None), typer.Typer):
        return typer.main.get_command(module.app)
    app = typer.Typer(add_completion=False)
    app.command()(module.main if name == "app" else module.command)
    return typer.main.get_command(app)


def parse(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The values of a command's arguments and options, as it parses them; raises where it would not take them."""
    command = click_command(name)
    context = command.make_context(name, list(arguments))
    if not hasattr(command, "commands"):
        return context.params
    sub_name, sub_command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    return sub_command.make_context(sub_name, rest, parent=context).params


def all_options() -> set[str]:
    """Every option of our commands, of their subcommands, and of accelerate's launcher."""
    names = ["landmark_models", "app", *(f"train.{name}" for name in COMMANDS)]
    commands = [click_command(name) for name in names]
    commands += [sub for group in commands for sub in getattr(group, "commands", {}).values()]
    options = {
        option
        for command in commands
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return options | {option for action in accelerate_options()._actions for option in action.option_strings}


@pytest.mark.parametrize("file", READMES)
def test_every_command_takes_what_it_is_given(file):
    commands = our_commands(file)
    assert commands
    for name, arguments in commands:
        parse(name, arguments)


def test_every_command_above_our_code_takes_what_it_is_given():
    """Those in the docstrings of modules and at the head of recipes."""
    texts = [ast.get_docstring(ast.parse(text_of(file))) or "" for file in (ROOT / "train").rglob("*.py")]
    texts += [re.sub("^# *", "", text_of(file), flags=re.MULTILINE) for file in (ROOT / "train").rglob("*.yaml")]
    started = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:python -m|accelerate launch) [^\[\n]*$", re.MULTILINE)
    lines = [line for text in texts for line in started.findall(text.replace("\\\n", " "))]
    commands = [command for line in lines for words in shell_commands(line) if (command := our_command(words))]
    assert len(commands) > 50
    for name, arguments in commands:
        if "--help" not in arguments:
            parse(name, arguments)


# What a page takes for granted: the reader's own photos, what the page before it has made, and files of the repository.
GIVEN = {
    README: ["holiday.jpg", "other.heic", "hall*.jpg", "photos", "train/recipes"],
    LIBRARY: ["holiday.jpg", "other.heic", "taj.jpg", "hall*.jpg", "photos", "/shared/photos", "list.000"],
    TRAINING: [  # the list of photos is made by another program
        "holiday.jpg", "photos", "wild60", "negatives", "mine.landmarks.safetensors", "runs/exclude-0.txt",
        "train/recipes", "train/README.md",
    ],
}  # fmt: skip
MADE = ("output", "out", "fix", "web")  # options that name what a command makes
READ = ("model", "teacher", "sources", "photos", "file")  # and what it reads, if that isn't a Path anyway
ELSEWHERE = re.compile(r"-$|hf-hub:|you/|torch/|default$|compact$")


def out_of_order(commands: Sequence[tuple[str, list[str]]], given: Sequence[str]) -> Iterator[str]:
    """What a reader stumbles over who runs these commands in their order: missing inputs and outputs named twice."""
    there = {Path(name) for name in given}
    for name, arguments in commands:
        for option, value in parse(name, arguments).items():
            for path in value if isinstance(value, list | tuple) else [value]:
                is_path = isinstance(path, Path) or (option in READ and isinstance(path, str))
                if not is_path or ELSEWHERE.match(str(path)) or ROOT in Path(path).parents:
                    continue
                if option not in MADE and (name, option) != ("landmark_models", "into"):
                    if not any(parent.match(str(path)) for parent in there) and not there & {
                        Path(path),
                        *Path(path).parents,
                    }:
                        yield f"{name}: no earlier command makes {path}"
                elif Path(path) in there and not {"tag", "teach"} & set(arguments):  # they continue it
                    yield f"{name}: {path} is there already"
                else:
                    there.add(Path(path))


@pytest.mark.parametrize("pages", [[README], [README, TRAINING], [LIBRARY]])
def test_the_commands_of_a_page_run_in_their_order(pages):
    commands = [command for file in pages for command in commands_in_order(file)]
    assert commands
    assert list(out_of_order(commands, [name for file in pages for name in GIVEN[file]])) == []


def test_a_command_that_stops_a_reader_is_found():
    fit = ["train/recipes/default.yaml", "--data", "photos", "--output", "runs/first"]
    commands = [
        ("train.evaluate", ["runs/first", "--data", "photos", "--output", "runs/test"]),
        ("train.fit", fit),
        ("train.fit", fit),
        ("train.fit", [*fit[:-1], "runs/second", "--exclude", "runs/scan/exclude.txt"]),
        ("train.export", ["runs/third", "--output", "third.onnx"]),
    ]
    assert list(out_of_order(commands, GIVEN[README])) == [
        "train.evaluate: no earlier command makes runs/first",
        "train.fit: runs/first is there already",
        "train.fit: no earlier command makes runs/scan/exclude.txt",
        "train.export: no earlier command makes runs/third",
    ]


@pytest.mark.parametrize("file", READMES)
def test_every_command_and_option_in_a_sentence_exists(file):
    known = all_options()
    for code in inline_code(file):
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code)) <= known, code
        for name in re.findall(r"\btrain\.(\w+)", code):
            assert name in COMMANDS, code
        if tests := re.search(r"pytest (tests/\S+\.py)(?: -k (\w+))?", code):
            found = re.search(rf"((?:^@.*\n)*)^def test_\w*{tests[2] or ''}", text_of(tests[1]), re.MULTILINE)
            assert found, code
            assert "slow" not in found[1] or "-m slow" in code, f"{code} selects nothing"


@pytest.mark.parametrize("file", PAGES)
def test_every_extra_exists(file):
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    assert set(re.findall(r"`\.\[(\w+)\]`", text_of(file))) <= extras.keys()


def anchors(file: str | Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", CODE.sub("", text_of(file)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", PAGES)
def test_every_link_leads_somewhere(file):
    text = CODE.sub("", text_of(file))
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (ROOT / file).parent / path if path else ROOT / file
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder of an example: photos, the recipes, no more."""
    shutil.copytree(ROOT / "train" / "recipes", tmp_path / "train" / "recipes")
    shutil.copy(ROOT / TRAINING, tmp_path / "train")
    noisy_photo((200, 40, 40), 1).save(tmp_path / "holiday.jpg")
    noisy_photo((200, 40, 40), 2).save(tmp_path / "other.heic", format="JPEG")
    with_gps(tmp_path / "taj.jpg")
    for number in range(1, 6):
        noisy_photo((40, 40, 200), number).save(tmp_path / f"hall{number}.jpg")
        (tmp_path / "places" / "Old_Bridge").mkdir(parents=True, exist_ok=True)
        noisy_photo((40, 200, 200), number).save(tmp_path / "places" / "Old_Bridge" / f"{number}.jpg")
    write_data(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("file", [README, LIBRARY])
def test_the_examples_in_python_run(file, folder, capsys):
    """Those of the page's API run in `tests/page`, where there is a page."""
    examples = [code for code in blocks(file, "python") if "127.0.0.1:7860" not in code]
    assert examples
    for code in examples:
        exec(compile(code, file, "exec"), {"__name__": "__main__"})
    assert "%" in capsys.readouterr().out
    assert file == README or (folder / "why.jpg").is_file()


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a command in this process, with patterns of file names expanded as a shell does."""
    words = [found for word in arguments for found in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
    assert not click_command(name).main(words, name, standalone_mode=False), (name, words)


@pytest.mark.slow
def test_the_examples_of_naming_and_tagging_run(folder, monkeypatch, capsys):
    """All but those of several machines, which `tests/library` starts on one."""
    photos = [str(photo) for photo in folder.rglob("photos/test/*/000.jpg")]
    Path("list.000").write_text(photos[0])
    piped = io.TextIOWrapper(io.BytesIO("\0".join(photos).encode()))
    monkeypatch.setattr(sys, "stdin", piped)
    commands = [*our_commands(README), *our_commands(LIBRARY)]
    for name, *arguments in dict.fromkeys((name, *arguments) for name, arguments in commands):
        if name == "landmark_models" and "/shared/photos" not in arguments:
            quick = ["--workers=1"] if "tag" in arguments else []
            run(name, ["default" if word.startswith("hf-hub:") else word for word in arguments] + quick)
    printed = capsys.readouterr().out
    assert "60 landmarks" in printed
    assert "holiday.jpg" in printed
    assert len(Path("tags.jsonl").read_text().splitlines()) == 33
    assert len(Path("tags.csv").read_text().splitlines()) == 1 + len(photos)


def write_sources(root: Path) -> None:
    """The table by which photos are dealt into halves."""
    with (root / "sources.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "repository"])
        rows.writerows([photo.relative_to(root), photo.stem] for photo in sorted(root.rglob("*.jpg")))


@pytest.mark.slow
def test_the_examples_of_training_run(folder, pretrained, hub_server, owner, monkeypatch, capsys):
    """From photos to a published page, with small networks; all but the download of photos."""
    shutil.copytree("photos/test", "wild60")
    for kind in ("other_landmarks", "food"):
        Path("negatives", kind).mkdir(parents=True)
        for seed in range(4):
            noisy_photo((90, 90, 90), seed).save(f"negatives/{kind}/{seed}.jpg")
    write_sources(folder / "wild60")
    write_sources(folder / "negatives")
    made = AddOn("0" * 64, ("Town Hall",), torch.tensor([5], dtype=torch.int32), torch.ones(1, 8).half())
    made.write(Path("mine.landmarks.safetensors"))
    Path("runs").mkdir()
    red = [f"train/00.Red_Tower/{photo.name}" for photo in Path("photos/train/00.Red_Tower").iterdir()]
    Path("runs/exclude-0.txt").write_text("\n".join(red))
    small = ["--epochs=1", "--batch-size=8", "--workers=0", "--val-fraction=0.25", "--warmup-epochs=0.5"]
    rung = [*small, "--model-args={channels: [8], depths: [1], strides: [2], norm: false}"]
    tiny = [*small, "--model=test_resnet", f"--pretrained-weights={pretrained}", "--image-size=64"]
    tiny += ["--start-image-size=none", "--eval-image-size=64", "--freeze=backbone"]
    for name, arguments in [*our_commands(README), *our_commands(TRAINING)]:
        if name in ("app", "landmark_models") or "udacity" in arguments or "--static" in arguments:
            continue
        words = [re.sub("^you/", f"{owner}/", word) for word in arguments]
        words = ["photos" if word == "torch/cifar10" else owner if word == "you" else word for word in words]
        if name == "train.fit":
            words += rung if "cifar10" in words[0] else tiny
            if "runs/scan/exclude.txt" in words:  # noise of one colour is full of copies: leave out one of them
                listed = Path(words[words.index("--exclude") + 1])
                listed.write_text("\n".join(listed.read_text().splitlines()[:3]))
        if name == "train.explore":
            words += ["--recipe=train/recipes/cifar10/1-baseline.yaml"]
        run(name, words)
    printed = capsys.readouterr().out
    assert "| 1-baseline | 1 |" in Path(TRAINING).read_text()
    elsewhere = json.loads(Path("runs/first/model/config.json").read_text())["landmark"]["elsewhere"]
    assert elsewhere["n"] == len(list(Path("halves/wild60/report").rglob("*.jpg"))) > 0
    assert f"{owner}/landmarks at revision" in printed
    assert f"{owner}/which-landmark" in printed
