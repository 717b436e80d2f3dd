"""Many photos: list them, decode them ahead of the model, tag them, and keep a journal that survives interruptions.

The way in is `landmark_models.library.bulk.tag_library`, which imports PyTorch and accelerate.
"""
