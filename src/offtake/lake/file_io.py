"""PyIceberg's file I/O of an own lake on this machine."""

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from offtake.lake import locations


class LocationsIO(PyArrowFileIO):
    """Files of this machine, with the location rules of `locations`: PyIceberg's own cut a location at `#` and `?`."""

    @staticmethod
    def parse_location(location: str, properties: Properties = EMPTY_DICT) -> tuple[str, str, str]:
        """The scheme, the host and the path in the file system. Raises `LocationError`."""
        del properties
        scheme, host, path = locations.split(location)
        if scheme == "file":
            return scheme, host, str(locations.local_path(location).absolute())
        return scheme, host, path if scheme in ("hdfs", "viewfs") else f"{host}{path}"
