"""The Gradio page: what it does, how it looks, what strangers upload, which model serves."""
