"""Many photos: listed, decoded ahead of the model, tagged, with a journal that survives interruptions."""
