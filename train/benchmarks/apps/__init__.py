"""Small apps that the page is measured against, each opened by `python -m train.benchmarks.apps.NAME MODEL`."""
