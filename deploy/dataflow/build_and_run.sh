#!/usr/bin/env bash
# The Flex Template: builds it, and runs jobs from it.
# usage: build_and_run.sh build                      once for each version of the image
#        build_and_run.sh run JOB NAME=VALUE…        parameters as in metadata.json; further ones are options of Beam
#        build_and_run.sh update JOB NAME=VALUE…     in place of the job of this name, with its state
# reads: PROJECT REGION TEMPLATE (gs://my-bucket/profilecast.json) IMAGE (of deploy/dataflow/Dockerfile, pushed)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${PROJECT:?the project}" "${REGION:?such as europe-west1}" "${TEMPLATE:?gs://BUCKET/NAME.json}" "${IMAGE:?the image}"

build() {
    gcloud dataflow flex-template build "$TEMPLATE" --project "$PROJECT" --image "$IMAGE" --sdk-language PYTHON \
        --metadata-file "$here/metadata.json"
}

launch() {  # OPTION… -- JOB NAME=VALUE…
    local options=()
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    local job=${1:?the name of the job}
    shift
    # Values may have commas in them (servers of Kafka), so ~ is what stands between parameters.
    local parameters="^~^sdk_container_image=$IMAGE"
    local each
    for each in "$@"; do parameters+="~$each"; done
    # Streaming Engine keeps the state; with prime or without, a worker needs a process for each core, which is the
    # default. Workers without public addresses reach Kafka inside of the network.
    gcloud dataflow flex-template run "$job" --project "$PROJECT" --region "$REGION" \
        --template-file-gcs-location "$TEMPLATE" --enable-streaming-engine --disable-public-ips \
        --num-workers "${WORKERS:-2}" --max-workers "${MAX_WORKERS:-20}" ${options[@]+"${options[@]}"} \
        --parameters "$parameters"
}

case ${1:-} in
    build) build ;;
    run) shift; launch -- "$@" ;;
    update) shift; launch --update -- "$@" ;;
    *) sed -n '3,5s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 1 ;;
esac
