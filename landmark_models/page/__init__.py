"""The Gradio page: `layout.build(serving, examples)` puts it together, one file a tab.

`handlers` does what the tabs and the API need, without any component; `cards` and `figures` put it into words;
`uploads` and `fetching` guard what strangers send; `serving` decides which model answers.
"""
