#!/usr/bin/env bash
# Fetches axe-core, by which tests/pipeline/test_status_page.py looks for what keeps people from using the page.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=4.14.1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && npm pack --silent "axe-core@$version" >/dev/null && tar -xzf "axe-core-$version.tgz" package/axe.min.js)
mkdir -p build
mv "$folder/package/axe.min.js" build/axe.min.js
