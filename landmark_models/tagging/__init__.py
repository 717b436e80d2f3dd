"""From an answer to tags: names and places, hashtags, alt text, JSON, CSV, XMP."""
