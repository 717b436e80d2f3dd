"""Where add-ons come from: files."""

from landmark_models.teaching.addon import AddOn


def load_addon(source: str) -> AddOn:
    """The add-on that `--with` names: a file.

    Raises:
        AddOnError: it isn't available, or isn't an add-on.
    """
    return AddOn.read(source)
