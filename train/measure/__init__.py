"""Measuring: predictions for many photos, figures with intervals, corruptions, comparisons, the ladder."""
