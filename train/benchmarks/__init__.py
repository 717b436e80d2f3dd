"""What `python -m train.bench` runs."""
