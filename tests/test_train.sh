#!/bin/sh
# SPDX-License-Identifier: MIT
# colt5 train: what it leaves, how it goes on, and everything it refuses. What takes longer is in
# script/check-training. Wants srcdir (make check sets it); runs ./colt5.
set -u
colt5=$PWD/colt5
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
checks=0
failures=0

if [ "${COLT5_TEST_TINY:-}" = 1 ]; then
    echo "too slow under a checker"
    exit 77
fi
if ! "$colt5" devices >/dev/null 2>"$work/err"; then
    cat "$work/err"
    [ "${COLT5_TEST_REQUIRE_DEVICE:-}" = 1 ] && exit 1
    exit 77
fi

wrong() {
    echo "test_train.sh:F: $1"
    failures=$((failures + 1))
}

# check CODE PATTERN COMMAND…: the exit code, and a line of its output or its messages.
check() {
    want=$1 pattern=$2
    shift 2
    checks=$((checks + 1))
    "$@" >"$work/out" 2>"$work/err"
    code=$?
    if [ $code != "$want" ]; then
        wrong "exit code $code, not $want: $*"
        cat "$work/err"
    elif ! cat "$work/out" "$work/err" | grep -qE -e "$pattern"; then
        wrong "no line like \"$pattern\": $*"
        cat "$work/out" "$work/err"
    fi
    if [ "$want" != 0 ] && ! grep -q '^colt5: ' "$work/err"; then
        wrong "no message: $*"
    fi
}

# The last messages hold a line like this.
said() {
    checks=$((checks + 1))
    grep -qE -e "$1" "$work/err" || wrong "nothing is said of \"$1\""
}

# A folder holds what the list says and no more.
holds() {
    folder=$1
    shift
    checks=$((checks + 1))
    have=$(cd "$folder" 2>/dev/null && find . -type f | sort | tr '\n' ' ')
    [ "$have" = "$*${*:+ }" ] || wrong "$folder holds $have, not: $*"
}

cd "$work" || exit 99
cat >little.json <<'JSON'
{
  "model": {
    "type": "masked_language_model", "dim": 16, "depth": 1, "num_heavy_attn_tokens": 8,
    "num_heavy_ff_tokens": 8, "light_heads": 2, "light_dim_head": 8, "light_window_size": 8,
    "heavy_heads": 2, "heavy_dim_head": 8
  },
  "training": {
    "steps": 8, "seq": 32, "batch": 2, "warmup_steps": 2, "evaluate_every": 4,
    "checkpoint_every": 3, "held_out_windows": 2
  }
}
JSON
awk 'BEGIN { for (i = 0; i < 400; i++) print "line " i " of " i * i }' >text
head -c 2000 text >part1
tail -c +2001 text >part2
train="$colt5 train --config little.json --data text"

# ---- a run ----
# shellcheck disable=SC2086 # several words
check 0 '^run/model.safetensors$' $train --output run
said 'byte frequencies score [0-9.]+ bits per hidden byte'
said '^step 8/8  training [0-9.]+, held out [0-9.]+ bits/byte  [0-9]+ tokens/s  .*B  0:00 left$'
picture=
[ -e run/loss.png ] && picture='./loss.png '
holds run ./checkpoints/6/model.safetensors ./checkpoints/6/optimizer.safetensors \
    ./checkpoints/6/state.json ./checkpoints/8/model.safetensors \
    ./checkpoints/8/optimizer.safetensors ./checkpoints/8/state.json ./config.json ./log.csv \
    $picture./model.safetensors
check 0 'masked_language_model' "$colt5" info run
check 0 'feedforward' "$colt5" routes run --text part1
[ "$(wc -l <run/log.csv)" = 10 ] || wrong "log.csv has not 8 steps, the start and a header"
head -n 1 run/log.csv | grep -q '^step,training_bits,held_out_bits,.*layers.0.conditional_ff.router.saturated$' ||
    wrong "log.csv has other columns"
grep -q "\"$PWD/text\"" run/checkpoints/8/state.json || wrong "the data's path is not absolute"

# ---- going on: to the bit, from anywhere, with nothing but the folder ----
# shellcheck disable=SC2086
check 0 'half/model' $train --output half --steps 3 # another schedule: only its data is looked at
check 0 'checkpoints/8' $train --output again
cmp -s run/model.safetensors again/model.safetensors || wrong "a seed gives other weights"
rm -r again/checkpoints/8
mkdir elsewhere
cd elsewhere || exit 99
check 0 'going on from ../again/checkpoints/6' "$colt5" train --resume ../again
cd ..
cmp -s run/model.safetensors again/model.safetensors || wrong "another model after a resume"
cut -d , -f 1-7 run/log.csv >want
cut -d , -f 1-7 again/log.csv | cmp -s want - || wrong "another log.csv after a resume"
cp -r run begun # killed before its first step
rm -r begun/checkpoints/6 begun/checkpoints/8 begun/log.csv
# shellcheck disable=SC2086
check 0 'zero/model' $train --output zero --steps 1 --checkpoint-every 9
cp -r zero/checkpoints/0 begun/checkpoints/ 2>/dev/null
check 0 'begun/checkpoints/0' "$colt5" train --resume begun --steps 8
cmp -s run/model.safetensors begun/model.safetensors || wrong "another model from step 0"
check 0 'all 8 steps are done' "$colt5" train --resume run
check 0 'checkpoints/9' "$colt5" train --resume run --steps 9
check 2 'at step 9 already' "$colt5" train --resume run --steps 4
printf x >>again/checkpoints/8/model.safetensors
check 0 'damaged.*the checkpoint before it is taken' "$colt5" train --resume again
said 'going on from again/checkpoints/6'
printf x >>again/checkpoints/8/optimizer.safetensors
printf x >>again/checkpoints/6/optimizer.safetensors
check 4 'none of 2 checkpoints is sound' "$colt5" train --resume again

# ---- options that change the run ----
check 0 'parts/model' "$colt5" train --config little.json --data part1 part2 --output parts --batch 1 \
    --accumulate 2 --recompute --dtype bf16 --math fast --lr 0.01 --seed 5 --eval-every 2 \
    --checkpoint-every 8 --steps 4 --seq 16
for key in '"batch": 1' '"accumulate": 2' '"recompute": true' '"dtype": "bf16"' '"math": "fast"' \
    '"learning_rate": 0.01' '"seed": 5' '"evaluate_every": 2' '"checkpoint_every": 8' '"steps": 4' \
    '"seq": 16'; do
    checks=$((checks + 1))
    grep -q "$key" parts/checkpoints/4/state.json || wrong "$key was not obeyed"
done
check 0 'json/model' "$colt5" train --config little.json --data text --output json --progress=json
if command -v python3 >/dev/null; then
    grep '"step"' err | python3 -c 'import json, sys
steps = [json.loads(line) for line in sys.stdin]
assert [s["step"] for s in steps] == list(range(1, 9))
assert steps[3]["held_out_bits"] > 0 and steps[2]["held_out_bits"] is None
assert all(s["training_bits"] > 0 and s["memory"] > 0 for s in steps)
assert len(steps[0]["routers"]) == 3 and steps[7]["seconds_left"] == 0' ||
        wrong "--progress=json is not as the manual has it"
fi

# ---- interrupted ----
"$colt5" train --config little.json --data text --output stopped --steps 1000000 --progress=json \
    >stopped.out 2>stopped.err &
process=$!
tries=0
until grep -q '"step"' stopped.err || [ $tries = 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
check 4 'stopped: another process is training there' "$colt5" train --resume stopped
kill -INT $process
wait $process
code=$?
checks=$((checks + 1))
[ $code = 130 ] || wrong "interrupted, but exit code $code"
cp stopped.err err
said 'colt5 train --resume stopped. goes on from step [0-9]+ of 1000000'
step=$(sed -n 's/.*from step \([0-9]*\) of.*/\1/p' err)
check 0 "going on from stopped/checkpoints/$step" "$colt5" train --resume stopped \
    --steps $((step + 1))

# ---- refused, and nothing touched ----
new="--output new"
# shellcheck disable=SC2086
{
    check 2 'wants --preset NAME or --config FILE' "$colt5" train --data text $new
    check 2 'not both' "$colt5" train --preset tiny --config little.json --data text $new
    check 2 'there is no preset huge; there are small, tiny' "$colt5" train --preset huge \
        --data text $new
    check 2 'wants --data' "$colt5" train --preset tiny $new
    check 2 'wants --output' $train
    check 2 'takes no --data' "$colt5" train --resume run --data text
    check 2 'takes no --preset' "$colt5" train --resume run --preset tiny
    check 2 'takes no --output' "$colt5" train --resume run --output new
    check 2 'takes no --seed' "$colt5" train --resume run --seed 1
    check 2 'takes no --recompute' "$colt5" train --resume run --recompute
    check 2 'takes no part1' "$colt5" train --resume run part1
    check 2 'a whole number of 1 or more' $train $new --steps 0
    check 4 'seed is 1000000000000000.*, not in 0 to' $train $new --seed 10000000000000000
    check 4 'learning_rate is -1' $train $new --lr -1
    check 4 'nowhere' "$colt5" train --config nowhere.json --data text $new
    check 4 'nowhere: cannot be read' "$colt5" train --config little.json --data nowhere $new
    check 4 'work: |not a regular file|is a folder' "$colt5" train --config little.json --data . $new
    : >empty
    check 4 'empty: is empty' "$colt5" train --config little.json --data empty $new
    head -c 40 text >short
    check 4 '4 bytes are held out.*a window \(seq\) has 32' "$colt5" train --config little.json \
        --data short $new
    head -c 20 text >short
    check 4 '18 bytes are for training, a window \(seq\) has 32' "$colt5" train \
        --config little.json --data short $new
    check 4 'seq is 7, shorter than light_window_size 8' $train $new --seq 7
    echo '{"model": {"type": "text_encoder"' >bad.json
    check 4 'bad.json' "$colt5" train --config bad.json --data text $new
    sed 's/masked_language_model/text_encoder/' little.json >bad.json
    check 4 'type is text_encoder, only a masked_language_model' "$colt5" train --config bad.json \
        --data text $new
    sed 's/"depth": 1/"depth": 1, "vocab_size": 257/' little.json >bad.json
    check 4 'vocab_size is 257' "$colt5" train --config bad.json --data text $new
    sed 's/"steps"/"stepps"/' little.json >bad.json
    check 4 'stepps is no key' "$colt5" train --config bad.json --data text $new
}
awk 'BEGIN { for (i = 0; i < 30000; i++) print "line " i }' >long
sed 's/"dim": 16/"dim": 1024/' little.json >wide.json
check 6 '[0-9]+ bytes.*, the device has [0-9]+' "$colt5" train --config wide.json --data long \
    --seq 16384 --batch 65536 --output new
said '^with .*--batch [0-9]+ --accumulate [0-9]+ it takes [0-9.]+ .iB$'
checks=$((checks + 1))
[ ! -e new ] || wrong "a refused call left something"

mkdir foreign
echo mine >foreign/notes
# shellcheck disable=SC2086
{
    check 4 'foreign: holds notes' $train --output foreign
    check 4 'colt5 train --resume run. goes on' $train --output run
    check 4 'text.*Not a directory' $train --output text
    check 4 'nowhere/new' $train --output nowhere/new
}
holds foreign ./notes
mkdir empty_folder
check 0 'empty_folder/model' "$colt5" train --config little.json --data text --output empty_folder \
    --steps 1

check 4 'holds no checkpoint' "$colt5" train --resume foreign
check 4 'holds no checkpoint' "$colt5" train --resume nowhere
sed -i 's/"dim": *16/"dim": 32/' half/config.json
check 4 'half/config.json: dim is 32, the checkpoint.s is 16' "$colt5" train --resume half
sed -i 's/"dim": *32/"dim": 16/' half/config.json
echo more >>text
check 4 "$PWD/text: is not what the checkpoint was trained on" "$colt5" train --resume half --steps 9
rm text
check 4 "$PWD/text" "$colt5" train --resume half --steps 9

echo "100%: Checks: $checks, Failures: $failures, Errors: 0"
[ $failures = 0 ]
