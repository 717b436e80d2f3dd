"""Speed against the obvious alternative, measured in the same run, since such figures vary across machines and hours.

python -m train.bench loop train/recipes/default.yaml --data photos/
python -m train.bench head train/recipes/effnetv2_b0_frozen.yaml --data photos/
python -m train.bench page holiday.jpg
python -m train.bench explain holiday.jpg
python -m train.bench tag holiday.jpg
python -m train.bench engine
python -m train.bench teach
python -m train.bench dimensions --data photos/ --others negatives/
python -m train.bench web --photos photos/test
"""

import statistics
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from landmark_models.errors import run_command
from train.options import Data, PretrainedWeights, RecipeFile, with_knobs
from train.recipe import Recipe

app = typer.Typer(no_args_is_help=True, add_completion=False)

ModelOption = Annotated[str, typer.Option(help="default, a model or run folder, or hf-hub:owner/name\\[@revision].")]
Counts = Annotated[list[int], typer.Option(min=1, help="Numbers of landmarks or dimensions; repeatable.")]
PhotoArgument = Annotated[Path, typer.Argument(help="A photo, e.g. of 12 megapixels.")]


@app.callback()
def main() -> None:
    """Speed against the obvious alternative, both measured in one run."""


@app.command("loop")
@with_knobs
def loop_command(
    recipe: RecipeFile,
    data: Data,
    knobs: dict[str, str],
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each of the two.")] = 8,
    updates: Annotated[int, typer.Option(min=1, help="Updates timed in each turn.")] = 30,
    pretrained_weights: PretrainedWeights = None,
) -> None:
    """The loop of train.fit against bare forward and backward passes of the same network on data in memory."""
    read = Recipe.read(recipe, **knobs)

    from train.benchmarks import print_rates
    from train.benchmarks.training import loop

    result = loop(read, data, rounds, updates, pretrained_weights)
    print_rates({name: result[name] for name in ("loop", "bare")})
    print(
        f"loop / bare: {result['ratio']:.3f} (median of {rounds} rounds, {min(result['ratios']):.3f} to "
        f"{max(result['ratios']):.3f}); {read.model}, {read.image_size} px, batch {read.batch_size}, "
        f"{read.mixed_precision} precision, {result['device']}."
    )


@app.command("head")
@with_knobs
def head_command(
    recipe: RecipeFile,
    data: Data,
    knobs: dict[str, str],
    pretrained_weights: PretrainedWeights = None,
) -> None:
    """A linear head on cached features against the same head trained by the recipe's epochs over the photos."""
    read = Recipe.read(recipe, **knobs)

    from train.benchmarks.training import head

    result = head(read, data, pretrained_weights)
    print(
        f"Computing the features took {result['features']:.1f} s (not counted). Head on cached features: "
        f"{result['cached']:.1f} s, validation top-1 {100 * result['top1']:.2f}%; by {read.epochs} epochs: "
        f"{result['epochs']:.1f} s, {100 * result['epochs_top1']:.2f}%, {result['ratio']:.1f} times as long; "
        f"{read.model}, {read.serving_size} px, {result['photos']} photos, {read.mixed_precision} precision, "
        f"{result['device']}."
    )


@app.command("page")
def page_command(
    photo: Annotated[
        Path | None, typer.Argument(help="A photo; by default a JPEG of 12 megapixels and 1.9 MB is made.")
    ] = None,
    model: ModelOption = "default",
    users: Annotated[int, typer.Option(min=1, help="Simultaneous users, measured after a single one.")] = 32,
    requests: Annotated[int, typer.Option(min=2, help="Photos sent alone, and by all users in each round.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each app with many users.")] = 3,
) -> None:
    """How fast the page names a photo over HTTP, upload included, against an empty gradio app and the obvious one."""
    from landmark_models.devices import available_cores
    from train.benchmarks.page import measure, print_page_times
    from train.benchmarks.photos import large_photo

    content = _photo_bytes(photo) if photo else large_photo()
    print_page_times(measure(model, content, users, requests, rounds), users)
    name = photo.name if photo else "a JPEG of noise"
    print(
        f"Each app: {requests} photos alone, {rounds} x {requests} photos with {users} at once; {name}, "
        f"{len(content) / 1e6:.1f} MB, {model}, on {available_cores()} cores, which the client shares."
    )


@app.command("explain")
def explain_command(
    photo: PhotoArgument,
    model: ModelOption = "default",
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each of the two.")] = 15,
) -> None:
    """How long an explanation takes, against a prediction."""
    _photo_bytes(photo)

    from landmark_models import LandmarkClassifier
    from landmark_models.devices import device_name
    from landmark_models.explain import explain
    from train.benchmarks import in_turns

    classifier = LandmarkClassifier.load(model)
    calls = {"predict": lambda: classifier.predict(photo), "explain": lambda: explain(classifier, photo)}
    times = {name: statistics.median(values) for name, values in in_turns(calls, rounds, warm=1).items()}
    text = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in times.items())
    print(
        f"{text}: {times['explain'] / times['predict']:.2f} times as long (medians of {rounds}); "
        f"{classifier.config['architecture']}, {classifier.engine}, {device_name(classifier.device)}."
    )


@app.command("tag")
def tag_command(
    photo: PhotoArgument,
    model: ModelOption = "default",
    photos: Annotated[int, typer.Option(min=64, help="Copies of the photo tagged in each turn.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each of the three.")] = 3,
) -> None:
    """How fast a library is tagged, against decoding alone and the model alone."""
    _photo_bytes(photo)

    from train.benchmarks import print_rates
    from train.benchmarks.tag import tagging

    rates, device = tagging(photo, model, photos, rounds)
    print_rates(rates)
    turns = list(zip(rates["decode"], rates["model"], rates["tag"], strict=True))
    alternating = [tag * (1 / decode + 1 / network) for decode, network, tag in turns]
    overlapped = [tag / min(decode, network) for decode, network, tag in turns]
    for name, ratios in (("1 / (1 / decode + 1 / model)", alternating), ("the slower of the two", overlapped)):
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"tag / {name}: {statistics.median(ratios):.2f} (median of {rounds}, {spread})")
    print(f"{photos} copies of {photo.name}, {model}, {device}.")


@app.command("engine")
def engine_command(
    model: ModelOption = "default",
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each engine with one photo.")] = 50,
    batch_rounds: Annotated[int, typer.Option(min=1, help="Turns of each engine with a batch of 32.")] = 5,
) -> None:
    """How fast the network alone is in PyTorch, OpenVINO and ONNX Runtime on this CPU."""
    import torch

    from landmark_models.devices import available_cores, device_name
    from train.benchmarks.engine import engines, print_engines

    result = engines(model, rounds, batch_rounds)
    print_engines(result)
    height, width = result.size
    print(
        f"{result.architecture}, {width} x {height} px, {rounds} and {batch_rounds} rounds; "
        f"{device_name(torch.device('cpu'))}, on {available_cores()} cores; "
        f"{_versions('torch', 'openvino', 'onnxruntime')}."
    )


@app.command("teach")
def teach_command(
    model: ModelOption = "default",
    classes: Counts = [1000, 10_000, 100_000, 1_000_000],  # noqa: B006 (typer copies it)
    dimensions: Annotated[int, typer.Option(min=1, help="Numbers kept of each landmark.")] = 256,
    photos: Annotated[int, typer.Option(min=2, help="Photos answered, one at a time.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of teaching a landmark from ten photos.")] = 5,
) -> None:
    """How fast a photo is compared with many taught landmarks, exactly and with faiss, and how long teaching takes."""
    import tempfile

    import torch

    from landmark_models.devices import available_cores, device_name
    from train.benchmarks.teach import describe_teaching, print_search_times, search_times, teaching_times

    with tempfile.TemporaryDirectory() as scratch:
        print_search_times([search_times(model, count, dimensions, photos, Path(scratch)) for count in classes])
    print(
        f"Synthetic landmarks of {dimensions} numbers for {model}; {photos} photos one at a time on one core, "
        "medians / 95th percentiles of CPU time."
    )
    print(describe_teaching(teaching_times(model, rounds)))
    device = f"{device_name(torch.device('cpu'))}, on {available_cores()} cores"
    print(f"{device}; {_versions('torch', 'faiss-cpu', 'openvino')}.")


@app.command("dimensions")
def dimensions_command(
    data: Annotated[Path, typer.Option(help="Folder with train/ to teach from, and test/ to measure on, of CLASS/*.")],
    others: Annotated[Path, typer.Option(help="Photos of other things, which the fewer dimensions are chosen by.")],
    model: ModelOption = "default",
    dimensions: Counts = [512, 256, 128],  # noqa: B006 (typer copies it)
    elsewhere: Annotated[Path | None, typer.Option(help="DATA of bare classes, to measure on, too.")] = None,
) -> None:
    """What landmarks of fewer numbers cost: accuracy among those of DATA, if other photos choose the dimensions."""
    from train.benchmarks.dimensions import dimension_loss, print_dimension_loss

    print_dimension_loss(dimension_loss(model, data, others, dimensions, elsewhere))
    print(
        f"Taught from the training photos of {data.name} to {model}; correct photos of those that can be read, in %, "
        "with 95% intervals, when only these landmarks can be answered."
    )


@app.command("web")
def web_command(
    photos: Annotated[Path, typer.Option(help="Folder of photos, searched recursively.")],
    model: ModelOption = "default",
    n: Annotated[int, typer.Option("--n", min=1, help="Photos, spread over the folder.")] = 200,
) -> None:
    """How the page that runs in the browser answers in Chromium, and how fast, against the Python classifier."""
    from landmark_models.devices import available_cores
    from train.benchmarks import quantiles
    from train.benchmarks.web import measure

    result = measure(model, photos, n)
    differences = sorted(result.differences)
    within = sum(difference <= 0.02 for difference in differences)
    median, late = quantiles(result.seconds)
    print(f"{result.n} photos, {result.failed} that Chromium can't read; the page compared with Python's classifier:")
    print(f"  the same first answer for {result.same_answer}, the same known-or-not for {result.same_known};")
    print(
        f"  the largest difference of a score: median {statistics.median(differences):.4f}, "
        f"worst {differences[-1]:.4f}; at most 0.02 for {within}."
    )
    print(f"First answer: {result.cold:.1f} s on the first visit, {result.warm:.1f} s on the second, over loopback.")
    print(f"Then {1000 * median:.0f} ms for a photo (median), {1000 * late:.0f} ms (95th percentile).")
    print(f"{model}, {result.engine} in Chromium {result.browser}, on {available_cores()} cores.")


def _versions(*packages: str) -> str:
    installed = []
    for package in packages:
        with suppress(PackageNotFoundError):
            installed.append(f"{package} {version(package)}")
    return ", ".join(installed)


def _photo_bytes(photo: Path) -> bytes:
    """The content of a photo, which must be one that can be read."""
    from landmark_models import open_photo

    open_photo(photo)
    return photo.read_bytes()


if __name__ == "__main__":
    run_command(app)
