#!/usr/bin/env bash
# Crates and seconds of cold builds: a program that depends on the crate, without and with candle,
# and the quick start's example.
#
#     benches/build_time.sh [REVISION ..]
#
# Without a revision it measures the working tree. Crates must be downloaded already (`cargo fetch`).
# CPU seconds (user and system, of all processes) change little with other load on the machine;
# wall seconds do. JOBS sets the number of parallel jobs (default: one a core).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
scratch=$(mktemp -d)
trap 'git worktree prune; rm -rf "$scratch"' EXIT
jobs=${JOBS:-$(nproc)}

# The build command's crates and times as a row of a table.
row() { # NAME COMMAND..
    local name=$1 log=$scratch/log
    shift
    CARGO_TARGET_DIR=$(mktemp -d -p "$scratch")
    export CARGO_TARGET_DIR
    local times
    times=$( { TIMEFORMAT='%R %U %S'; time "$@" >"$log" 2>&1; } 2>&1 ) || { cat "$log"; exit 1; }
    local wall user sys
    read -r wall user sys <<<"$times"
    printf '| %s | %s | %s | %s |\n' "$name" "$(grep -c '^ *Compiling ' "$log")" \
        "$(awk "BEGIN { printf \"%.0f\", $user + $sys }")" "$(awk "BEGIN { printf \"%.0f\", $wall }")"
    rm -rf "$CARGO_TARGET_DIR"
}

program() { # FOLDER FEATURES: a minimal program
    mkdir -p "$scratch/program/src"
    cat >"$scratch/program/Cargo.toml" <<TOML
[package]
name = "program"
edition = "2024"
[dependencies]
svtrv2 = { path = "$1", $2 }
[workspace]
TOML
    cat >"$scratch/program/src/main.rs" <<'RUST'
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recognizer = svtrv2::Recognizer::open("weights.safetensors")?;
    println!("{}", recognizer.recognize(svtrv2::Crop::open("crop.png")?)?.text);
    Ok(())
}
RUST
    cp "$1/Cargo.lock" "$scratch/program/"
}

measure() { # NAME FOLDER
    local build=(cargo build --offline --release -j "$jobs")
    # Before candle was optional there is no such build.
    if grep -q '^candle = ' "$2/Cargo.toml" && grep -q '^default = \["candle"\]' "$2/Cargo.toml"; then
        program "$2" 'default-features = false'
        row "$1: program, no candle" "${build[@]}" --manifest-path "$scratch/program/Cargo.toml"
    fi
    program "$2" 'default-features = true'
    row "$1: program, default features" "${build[@]}" --manifest-path "$scratch/program/Cargo.toml"
    row "$1: example recognize" "${build[@]}" --manifest-path "$2/Cargo.toml" --example recognize
}

echo "| build | crates | CPU s | wall s, $jobs jobs |"
echo "|---|---|---|---|"
if [ $# -eq 0 ]; then
    measure "working tree" "$root"
fi
for revision in "$@"; do
    git worktree add --quiet --detach "$scratch/$revision" "$revision"
    measure "$revision" "$scratch/$revision"
    git worktree remove --force "$scratch/$revision"
done
