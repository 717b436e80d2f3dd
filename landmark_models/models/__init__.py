"""A model folder: written, checked, built; and from the Hub: load one, choose the best, say why it failed."""
