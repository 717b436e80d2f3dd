"""The commands of `landmarks`, one module each; they import what takes long only when they run."""
