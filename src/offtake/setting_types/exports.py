"""The files that exports write, and the processes that write them."""

from typing import Annotated, Literal

from pydantic import Field

ExportProcesses = Annotated[int, Field(ge=1, le=64, description="Worker processes that write parts.")]
PartBytes = Annotated[int, Field(ge=1, description="Largest number of bytes of source files per delivered file.")]
PartRows = Annotated[
    int,
    Field(
        ge=1,
        description="Largest number of rows per delivered file; the default is eight row groups as Offtake writes "
        "them.",
    ),
]
JsonGzipLevel = Annotated[
    int | None,
    Field(
        ge=1, le=9, description="Compression level of gzipped JSON files, from 1 (fastest) to 9 (smallest); default: 2."
    ),
]
JsonGzipMembers = Annotated[
    Literal["single", "many"],
    Field(
        description="`single`: a JSON file is one gzip member, which every reader reads completely. `many`: one member "
        "per 2 MiB of text, for consumers that read multi-member files; needs less CPU from level 5 on."
    ),
]
ParquetGzipLevel = Annotated[
    int | None,
    Field(
        ge=1,
        le=9,
        description="Compression level of pages of gzipped Parquet files, from 1 (fastest) to 9 (smallest); default: "
        "1.",
    ),
]
