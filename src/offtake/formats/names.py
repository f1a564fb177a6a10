"""The names of the file formats and the media types of their files, without the libraries that write them."""

from typing import Final

JSON: Final = "JSON"
PARQUET: Final = "PARQUET"
MEDIA_TYPES_OF: Final = {
    JSON: {".json": "application/json", ".gz": "application/gzip"},
    PARQUET: {".parquet": "application/vnd.apache.parquet"},
}
"""The media types of a format's files, by suffix."""
NAMES: Final = tuple(MEDIA_TYPES_OF)
MEDIA_TYPES: Final = {suffix: kind for of_format in MEDIA_TYPES_OF.values() for suffix, kind in of_format.items()}
"""The media types of delivered files, by suffix."""
