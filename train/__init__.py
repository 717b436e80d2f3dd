"""How a model is made: `python -m train` lists the commands, README.md explains them.

The modules of this folder are what one can run; its rooms hold how it works. A module imports only from its own room
and from what stands before it here. A room's `__main__` is a command, too.
"""

IMPORT_ORDER = (
    "recipe", "run", "data", "draw", "measure", "engine", "hub", "benchmarks", "options",
    "exported", "export", "evaluate", "few_shot", "gallery", "calibration", "report", "explore", "space", "publish",
    "fit", "distill", "bench", "__main__",
)  # fmt: skip
