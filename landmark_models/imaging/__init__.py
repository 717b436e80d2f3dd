"""How `landmark_models.photo` opens a stranger's file: its container, its damage, its pixels, its position."""
