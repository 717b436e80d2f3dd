"""What a model knows, and how well."""

from typing import Any

import typer

from landmark_models.commands.options import Model
from landmark_models.text import for_terminal, percent


def info(model: Model = "default") -> None:
    """Show a model's size, measured accuracy and landmarks."""
    from landmark_models.classifier import LandmarkClassifier
    from landmark_models.networks.served import parameter_count
    from landmark_models.tagging.gazetteer import search

    classifier = LandmarkClassifier.load(model, engine="cached")
    parameters = parameter_count(classifier.network)
    typer.echo(f"{classifier.source}: {classifier.config['architecture']}, {parameters / 1e6:.2f} M parameters")
    test = classifier.landmark.get("test")
    typer.echo(f"test {_measured(test)}" if test else "not tested")
    if elsewhere := classifier.landmark.get("elsewhere"):
        typer.echo(f"photos from elsewhere: {_measured(elsewhere)}")
    names = [for_terminal(row["name"]) for row in search(classifier.labels)]
    typer.echo(f"{len(names)} landmarks: {', '.join(names)}")


def _measured(figures: dict[str, Any]) -> str:
    """A block of figures from the model's config, in one line."""
    low, high = figures["top1_ci95"]
    interval = f"95% interval {percent(low, 1)} to {percent(high, 1)}"
    text = f"top-1 {percent(figures['top1'], 1)} ({interval}, n = {figures['n']}, {for_terminal(figures['data'])})"
    if named := figures.get("named"):
        text += f"; named {named['named']} of {named['photos']}, {named['right']} of them correctly"
    return text
