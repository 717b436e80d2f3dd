"""Measuring: predictions for many photos, figures with intervals, calibration, rejection, corruptions, comparisons.

Import from the modules, e.g. `from train.measure.evaluation import evaluate`; most of them need PyTorch.
"""
