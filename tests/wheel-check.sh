#!/usr/bin/env sh
# Builds the wheel, installs it with the pinned requirements into a clean environment, and delivers a file with it:
# `make wheel-check`. With a folder as argument, the wheel and the source archive stay there.
set -eu
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
version=$($python -m hatchling version)
fail() { echo "wheel-check: $1" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dist=${1:-$work/dist}
$python -m hatchling build ${1:+-t sdist} -t wheel -d "$dist" > /dev/null 2> "$work/build.txt" ||
    { cat "$work/build.txt"; fail "the build fails"; }
wheel=$dist/offtake-$version-py3-none-any.whl
test -f "$wheel" || fail "the build made other files: $(ls "$dist")"
test -z "${1:-}" || test -f "$dist/offtake-$version.tar.gz" || fail "the build made no source archive"

$python - "$wheel" <<'PYTHON' || fail "the wheel does not hold what it should"
import sys, zipfile
names = zipfile.ZipFile(sys.argv[1]).namelist()
others = [name for name in names if not name.startswith("offtake")]
assert not others, others
assert "offtake/py.typed" in names
assert {"offtake/web/templates/base.html", "offtake/web/static/app.css"} <= set(names)
assert any(name.startswith("offtake/store/migrations/versions/0001") for name in names)
assert any(name.endswith("licenses/LICENSE") for name in names)
PYTHON

${PYTHON:-python3} -m venv --without-pip "$work/venv"
# This environment's pip, without compiled modules: half of the time.
pip="$python -m pip --python $work/venv/bin/python"
install="$pip install --quiet --disable-pip-version-check --no-compile"
$install --require-hashes -r requirements/runtime.txt
$install --no-deps "$wheel"
$pip check > /dev/null || fail "its requirements do not fit each other"
(
    cd "$work"
    unset PYTHONPATH
    test "$(venv/bin/offtake --version)" = "offtake $version" || fail "it has another version"
    printf 'id,city\n1,Bern\n2,Graz\n' > towns.csv
    XDG_CACHE_HOME="$work/cache" venv/bin/offtake copy towns.csv ./out --format json > copy.txt 2>&1 ||
        { cat copy.txt; fail "it does not deliver a file"; }
    test "$(gzip -dc out/*.json.gz | wc -l)" = 2 || fail "it delivers other rows"
    test -z "${1:-}" || venv/bin/offtake demo --data-dir demo > demo.txt || { cat demo.txt; fail "its demo fails"; }
)
echo "wheel-check: the wheel of offtake $version works in a clean environment"
