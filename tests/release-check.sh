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
sh tests/wheel-check.sh dist
echo "offtake $version is ready: git tag v$version && git push --tags; upload dist/*"
