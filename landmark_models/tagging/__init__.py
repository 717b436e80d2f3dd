"""Turn answers into tags: names and places, hashtags, alt text, JSON, CSV, XMP."""

from landmark_models.tagging.tags import Tags

__all__ = ["Tags"]
