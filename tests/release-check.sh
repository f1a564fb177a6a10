#!/usr/bin/env sh
# Builds this version as it would be released, and tries the wheel in a clean environment: `make release-check`.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
version=$($python -m hatchling version)
fail() { echo "release-check: $1" >&2; exit 1; }

test -z "$(git status --porcelain)" || fail "there are changes that are not committed"
grep -q "^## $version — [0-9]\{4\}-[0-9]\{2\}-[0-9]\{2\}$" CHANGELOG.md ||
    fail "CHANGELOG.md has no heading '## $version — DATE'"
test -d "tests/store/dumps/$version" ||
    fail "there are no dumps of its databases; run: $python -m tests.store.dumps $version"

rm -rf dist
$python -m hatchling build -d dist > /dev/null
wheel="dist/offtake-$version-py3-none-any.whl"
test -f "$wheel" && test -f "dist/offtake-$version.tar.gz" || fail "the build made other files: $(ls dist)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
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
${PYTHON:-python3} -m venv "$work/venv"
pip="$work/venv/bin/python -m pip install --quiet --disable-pip-version-check"
$pip --require-hashes -r requirements/runtime.txt
$pip --no-deps "$wheel"
(
    cd "$work"
    test "$(venv/bin/python -c 'import offtake; print(offtake.__version__)')" = "$version" || fail "it has another version"
    venv/bin/python -m pip check --quiet || fail "its requirements do not fit each other"
    venv/bin/offtake demo --data-dir demo > demo.txt || { cat demo.txt; fail "its demo fails"; }
)
echo "offtake $version is ready: git tag v$version && git push --tags; upload dist/*"
