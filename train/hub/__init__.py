"""Publishing: model cards, uploads, and models as single files for other runtimes."""
