"""`python -m train`, or `landmarks-train`: lists the commands, and runs one.

python -m train fit --help
"""

import difflib
import runpy
import sys

from landmark_models.errors import run_command

COMMANDS = {
    "fit": "Train a model on a folder of photos, as a recipe says.",
    "distill": "Train a small model on the outputs of a large one.",
    "evaluate": "Measure a model on photos it has never seen.",
    "few_shot": "Measure how well landmarks are taught from a few photos.",
    "gallery": "Teach a model any number of landmarks, in one pass over their photos.",
    "calibration": "Fit the temperature and the rejection rule of a trained model again.",
    "report": "Compare runs, or tabulate several of them.",
    "explore": "Look at photos before you train on them.",
    "data": "Download, scan and split photos.",
    "export": "Write a model as one file for another runtime.",
    "exported": "Classify a photo with such a file.",
    "publish": "Publish a run to the Hugging Face Hub.",
    "space": "Publish the page to the Hub as a Space.",
    "bench": "Time training, serving and tagging against the obvious alternative.",
}


def main() -> None:
    """List the commands, or run the one that the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        lines = (f"  {command:<13}{purpose}" for command, purpose in COMMANDS.items())
        print("Usage: python -m train COMMAND ...\n", *lines, "\npython -m train COMMAND --help says more.", sep="\n")
        return
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean {nearest[0]}?" if nearest else "python -m train lists the commands."
        print(f"Error: there is no command {name!r}. {hint}", file=sys.stderr)
        raise SystemExit(2)
    del sys.argv[1]
    runpy.run_module(f"train.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_command(main)
