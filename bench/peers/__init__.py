"""Each peer as its users would write it: `python -P <tool>.py <case> <folder of Parquet files> <target folder>`.

Cases are `json-gzip`, `parquet-gzip` and `parquet-none`. Each script is run by the Python of that tool's own
environment (`<tool>.txt` next to it); `-P` keeps this folder, whose files have the tools' names, out of its imports.
"""
