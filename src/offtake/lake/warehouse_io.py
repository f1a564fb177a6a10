"""PyIceberg's file I/O of an own lake in an object store."""

from types import TracebackType
from typing import Final, Self

from pyiceberg.io import InputFile, InputStream, OutputFile, OutputStream
from pyiceberg.typedef import EMPTY_DICT, Properties

from offtake.lake.storage import files, objects
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import StoreFile
from offtake.lake.storage.iceberg_io import AccessIO

ACCESS: Final = "offtake.access"
"""The catalog's property with the `FileAccess` for `WarehouseIO`."""


class WarehouseIO(AccessIO):
    """Reads, writes and deletes the own lake's files in a store. Raises `DeliveryError` for the store's errors."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        """`properties`: of the catalog, with the access; PyIceberg calls this."""
        access = properties[ACCESS]
        assert isinstance(access, FileAccess)  # noqa: S101 - the catalog is opened with it
        super().__init__(access)

    @classmethod
    def of(cls, access: FileAccess) -> Self:
        """The I/O with that access."""
        return cls({ACCESS: access})

    def new_input(self, location: str) -> InputFile:
        """The file, to be read."""
        return _Input(location, self.access)

    def new_output(self, location: str) -> OutputFile:
        """The file, to be written at once when it is closed."""
        return _Output(location, self.access)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete the file; it may be missing."""
        objects.delete(self.access, [location if isinstance(location, str) else location.location])


class _Input(InputFile):
    def __init__(self, location: str, access: FileAccess) -> None:
        super().__init__(location)
        self._access = access

    def __len__(self) -> int:
        with StoreFile(self._access, self.location) as file:
            return file.size()

    def exists(self) -> bool:
        return files.exists(self.location, self._access)

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002 - PyIceberg's signature
        return StoreFile(self._access, self.location)


class _Output(OutputFile):
    """Metadata: small, and held in memory until it is complete."""

    def __init__(self, location: str, access: FileAccess) -> None:
        super().__init__(location)
        self._access = access
        self._size: int | None = None

    def __len__(self) -> int:
        return len(self.to_input_file()) if self._size is None else self._size

    def exists(self) -> bool:
        return files.exists(self.location, self._access)

    def to_input_file(self) -> InputFile:
        return _Input(self.location, self._access)

    def create(self, overwrite: bool = False) -> OutputStream:  # noqa: ARG002 - names are unique (UUID)
        return _Stream(self)

    def store(self, content: bytes) -> None:
        objects.put_small(self._access, self.location, content)
        self._size = len(content)


class _Stream:
    """Stores the file when it is closed, unless its block ended with an error."""

    def __init__(self, file: _Output) -> None:
        self._file = file
        self._chunks: list[bytes] | None = []
        self._at = 0

    @property
    def closed(self) -> bool:
        return self._chunks is None

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """No-op: the file is stored at the end."""

    def write(self, chunk: bytes) -> int:
        assert self._chunks is not None  # noqa: S101 - PyIceberg writes before it closes
        self._chunks.append(chunk)
        self._at += len(chunk)
        return len(chunk)

    def close(self) -> None:
        if self._chunks is not None:
            chunks, self._chunks = self._chunks, None
            self._file.store(b"".join(chunks))

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._chunks = None
        self.close()
