#!/bin/sh
# Writes the hash-pinned requirement files anew. Needs `uv`; names no registry: pip asks the one it is set up for.
set -eu
cd "$(dirname "$0")/.."
compile() {
    out=$1
    shift
    uv pip compile pyproject.toml requirements/build.in --universal --python-version 3.11 --generate-hashes --quiet \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@" --output-file "requirements/$out" >/dev/null
}
compile dev.txt --extra local --extra test --extra check "$@"
# The smaller sets are cut from the same resolution, so that what is tested is what is run.
compile local.txt --extra local --constraint requirements/dev.txt
compile base.txt --constraint requirements/dev.txt
