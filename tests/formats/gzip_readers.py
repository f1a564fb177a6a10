"""Programs and libraries that decompress gzip files."""

import gzip
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import deflate
import duckdb
import httpx2
import isal.isal_zlib
import polars as pl
import pyarrow as pa
import zlib_ng.zlib_ng

_GZIP = 31
"""zlib's window bits for one gzip member."""

Reader = Callable[[Path], bytes]


def _gzip_open(file: Path) -> bytes:
    with gzip.open(file) as text:
        return text.read()


def _zlib_in_pieces(file: Path) -> bytes:
    stream = zlib.decompressobj(_GZIP)
    with file.open("rb") as raw:
        return b"".join(stream.decompress(piece) for piece in iter(lambda: raw.read(4096), b"")) + stream.flush()


def _libdeflate(file: Path) -> bytes:
    return bytes(deflate.gzip_decompress(file.read_bytes()))


def _pyarrow_stream(file: Path) -> bytes:
    with pa.input_stream(str(file), compression="gzip") as stream:
        return bytes(stream.read())


def _pyarrow_codec(file: Path) -> bytes:
    """One call with the size in the file's last bytes, as readers of Parquet pages do."""
    data = file.read_bytes()
    return bytes(pa.Codec("gzip").decompress(data, int.from_bytes(data[-4:], "little")))


def _polars(file: Path) -> bytes:
    return _as_lines(pl.read_csv(file, has_header=False, separator="\x01", quote_char=None).to_series().to_list())


def _duckdb(file: Path) -> bytes:
    found = duckdb.read_csv(
        str(file), header=False, sep="\x01", quotechar="", escapechar="", compression="gzip"
    ).fetchall()
    return _as_lines([line for (line,) in found])


def _http_client(file: Path) -> bytes:
    """How HTTP clients decode a body with this content encoding."""
    return httpx2.Response(200, headers={"Content-Encoding": "gzip"}, content=file.read_bytes()).content


def _program(*command: str) -> Reader:
    return lambda file: subprocess.run([*command, file], capture_output=True, check=True).stdout


def _perl(statement: str) -> Reader:
    return _program("perl", "-MCompress::Zlib", "-MIO::Uncompress::Gunzip=gunzip", "-e", f"binmode STDOUT; {statement}")


def _node(expression: str) -> Reader:
    script = f"const file = process.argv[1]; {expression}"
    return _program("node", "-e", script)


def _as_lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


_SLURP = "open(my $f, '<:raw', $ARGV[0]); local $/; my $data = <$f>;"
_WEB = "new Response(new Blob([fs.readFileSync(file)]).stream().pipeThrough(new DecompressionStream('gzip')))"

READS_ALL: dict[str, Reader] = {
    "gzip.decompress": lambda file: gzip.decompress(file.read_bytes()),
    "gzip.open": _gzip_open,
    "gunzip -c": _program("gunzip", "-c"),
    "zcat": _program("zcat"),
    "pyarrow's input stream": _pyarrow_stream,
    "Polars": _polars,
    "DuckDB": _duckdb,
    "Node's gunzipSync": _node("process.stdout.write(require('zlib').gunzipSync(fs.readFileSync(file)))"),
    "Node's createGunzip": _node("fs.createReadStream(file).pipe(require('zlib').createGunzip()).pipe(process.stdout)"),
    "Perl's MultiStream": _perl("gunzip($ARGV[0] => '-', MultiStream => 1) or die"),
}
"""Readers that continue after the end of a member."""
READS_ONE: dict[str, Reader] = {
    "zlib.decompress": lambda file: zlib.decompress(file.read_bytes(), _GZIP),
    "zlib.decompressobj": _zlib_in_pieces,
    "isal_zlib.decompress": lambda file: isal.isal_zlib.decompress(file.read_bytes(), _GZIP),
    "zlib_ng.decompress": lambda file: zlib_ng.zlib_ng.decompress(file.read_bytes(), _GZIP),
    "libdeflate": _libdeflate,
    "pyarrow's codec": _pyarrow_codec,
    "httpx2": _http_client,
    "Perl's memGunzip": _perl(f"{_SLURP} print Compress::Zlib::memGunzip($data)"),
    "Perl's gunzip": _perl("gunzip($ARGV[0] => '-') or die"),
    "Node's DecompressionStream": _node(
        f"{_WEB}.arrayBuffer().then((text) => process.stdout.write(Buffer.from(text)))"
    ),
}
"""Readers that may stop or fail at the end of the first member."""
