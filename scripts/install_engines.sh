#!/usr/bin/env bash
# Puts the engines that tests and run_streaming.sh use into .engines; does nothing for those that are there.
# usage: scripts/install_engines.sh NAME…    kafka (Java, Maven), prism (Go), flink (Java, Maven, pip)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .engines

needs() {  # COMMAND WHAT-FOR
    command -v "$1" >/dev/null || { echo "$1 is needed for $2 and is not on the PATH" >&2; exit 1; }
}
jars() {  # NAME: what scripts/engines/NAME.xml depends on
    needs java "$1"
    needs mvn "$1"
    mvn -q -f "scripts/engines/$1.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$PWD/.engines/$1.new"
    mv ".engines/$1.new" ".engines/$1"
}
for name in "$@"; do
    [ -e ".engines/$name" ] && continue
    echo "Installing $name into .engines"
    case $name in
        kafka) jars kafka ;;
        prism)
            needs go prism
            GOBIN="$PWD/.engines" go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0 ;;
        flink)
            jars flink
            # Flink itself comes in a Python package, which is not installed: only its jars are taken out of it.
            .venv/bin/python -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation \
                --dest .engines/flink-dist.new apache-flink-libraries==1.19.3
            tar -xzf .engines/flink-dist.new/*.tar.gz -C .engines/flink-dist.new --strip-components=1
            mv .engines/flink-dist.new/deps .engines/flink-dist
            rm -rf .engines/flink-dist.new ;;
        *) echo "there is no engine $name" >&2; exit 1 ;;
    esac
done
