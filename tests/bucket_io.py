"""Writes tables whose files are named as objects of a bucket into a folder of this machine."""

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

BUCKET = "lake"
ROOT = f"s3://{BUCKET}/"
NAME = f"{__name__}.BucketIO"


class BucketIO(PyArrowFileIO):
    """The property `folder` names the folder that stands for the bucket."""

    def new_input(self, location: str) -> PyArrowFile:
        """The file of the folder."""
        return _named(super().new_input(self._path(location)), location)

    def new_output(self, location: str) -> PyArrowFile:
        """The file of the folder."""
        return _named(super().new_output(self._path(location)), location)

    def _path(self, location: str) -> str:
        return f"{self.properties['folder']}/{location.removeprefix(ROOT)}" if location.startswith(ROOT) else location


def _named(file: PyArrowFile, location: str) -> PyArrowFile:
    file._location = location  # noqa: SLF001 - PyIceberg writes the path of a file into metadata
    return file
