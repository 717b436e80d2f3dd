"""The Gradio page: `layout.build(serving, examples)` puts it together, one file a tab.

`handlers` does what the tabs and the API need, without any component; `results`, `cards` and `facts` say it in words;
`uploads` and `fetching` guard what strangers send; `serving` decides which model answers.
"""
