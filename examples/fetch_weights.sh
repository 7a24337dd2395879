#!/bin/sh
# Fetches a trained SVTRv2-B (MIT licence, on PyPI as azcrawlerpy-recaptcha-text) and converts it
# to weights/svtrv2_b.safetensors.
set -eu
cd "$(dirname "$0")/.."
python3 -m pip download --quiet --no-deps --dest weights azcrawlerpy-recaptcha-text==1.0.1
python3 -m zipfile -e weights/azcrawlerpy_recaptcha_text-1.0.1-py3-none-any.whl weights/package
cargo run --release -p svtrv2-cli --no-default-features --features onnx -- convert --english \
    weights/package/azcrawlerpy_recaptcha_text/svtrv2.onnx weights/svtrv2_b.safetensors
