"""Learning: networks, augmentation, updates, the loop over epochs, checkpoints, features and heads fitted on them."""
