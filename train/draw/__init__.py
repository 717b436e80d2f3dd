"""Drawing: figures, tables and HTML pages, from plain data. It measures nothing.

`figure` makes and saves matplotlib figures; `page` fills in the templates; `curves`, `results`, `photos`, `report` and
`exploration` are what commands draw.
"""
