"""Drawing: figures, tables and HTML pages, from plain data. It measures nothing.

`output` writes figures, CSV files and pages; `curves`, `report` and `exploration` are what commands draw.
"""
