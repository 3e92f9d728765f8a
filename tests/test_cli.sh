#!/bin/sh
# SPDX-License-Identifier: MIT
# The program colt5: every command, the exit codes of colt5(1), and that a call that fails leaves
# nothing behind. Wants srcdir (make check sets it); runs ./colt5.
set -u
srcdir=${srcdir:-.}
colt5=$PWD/colt5
golden=$srcdir/tests/golden
block=$golden/transformer_block_plain
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
    echo "test_cli.sh:F: $1"
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
    # Messages are "colt5: …", on stderr alone.
    if [ "$want" != 0 ] && ! grep -q '^colt5: ' "$work/err"; then
        wrong "no message: $*"
    fi
}

there() {
    for file; do
        checks=$((checks + 1))
        [ -s "$file" ] || wrong "$file is missing or empty"
    done
}

# The folder $work/kept holds what the list says and no more: no partial and no temporary file.
kept() {
    checks=$((checks + 1))
    have=$(cd "$work/kept" && find . -type f | sort | tr '\n' ' ')
    [ "$have" = "$*${*:+ }" ] || wrong "left behind: $have, not: $*"
}

# The last output is JSON, and a question about it, in Python, is answered with yes.
json() {
    command -v python3 >/dev/null || return 0
    checks=$((checks + 1))
    python3 -c "import json; d = json.load(open('$work/out')); assert ($1)" 2>"$work/err" || {
        wrong "JSON: $1"
        tail -n 3 "$work/err"
    }
}
mkdir "$work/kept"
cd "$work" || exit 99
case $srcdir in /*) ;; *) golden=$OLDPWD/$golden block=$OLDPWD/$block srcdir=$OLDPWD/$srcdir ;; esac

# ---- help and usage ----
check 0 'bench' "$colt5" --help
check 0 'colt5 [0-9]' "$colt5" --version
for command in devices run info init routes bench doctor; do
    check 0 '--device SELECTOR' "$colt5" $command --help
    check 2 'no option --nothing' "$colt5" $command --nothing
    check 2 'wants SELECTOR' "$colt5" $command --device
    check 2 'not plain' "$colt5" $command --progress=loud
done
"$colt5" >/dev/null 2>&1
[ $? = 2 ] || wrong "no command is not exit code 2"
check 2 'no command nothing' "$colt5" nothing
check 2 'wants MODEL' "$colt5" run
check 2 'wants either' "$colt5" run "$block"
check 2 'one operand too many' "$colt5" info "$block" "$block"
check 2 'not f32, f16 or bf16' "$colt5" info "$block" --dtype f64
check 2 'a whole number of 1 or more' "$colt5" info "$block" --seq 0
check 2 'not md.csv.json' "$colt5" bench --format xml
check 2 'no option -x' "$colt5" info -x

# ---- devices and doctor ----
check 0 'is the default' "$colt5" devices
check 0 '' "$colt5" devices --json
json 'len(d) >= 1 and all(k in d[0] for k in ("id", "name", "memory", "driver", "default"))'
check 3 'is none of those there are' "$colt5" devices --device "no such device"
for command in "devices" "info $block" "bench"; do
    # shellcheck disable=SC2086 # several words
    check 3 'no OpenCL driver was found' env OCL_ICD_VENDORS=/nonexistent "$colt5" $command
done
check 0 'problems:' "$colt5" doctor
check 0 '' "$colt5" doctor --json
json 'any("passed" in v["self_test"] for i in d["drivers"] for v in i.get("devices", []))'
OCL_ICD_VENDORS=/nonexistent "$colt5" doctor >"$work/out" 2>&1
[ $? = 3 ] || wrong "doctor without a driver is not exit code 3"

# ---- init and info ----
check 0 'kept/model/model.safetensors' "$colt5" init "$srcdir/examples/text_encoder.json" --seed 1 \
    --output kept/model
kept ./model/config.json ./model/model.safetensors
"$colt5" init "$srcdir/examples/text_encoder.json" --seed 1 --output again >/dev/null 2>&1
cmp -s kept/model/model.safetensors again/model.safetensors || wrong "a seed gives other weights"
check 0 'layers.1.conditional_ff.router +1024' "$colt5" info kept/model --seq 4096
check 0 '' "$colt5" info kept/model --json --seq 4096 --batch 2
json 'd["config"]["type"] == "text_encoder" and d["parameters"] > 0 and len(d["routers"]) == 6'
check 2 'wants --output' "$colt5" init "$srcdir/examples/text_encoder.json"
check 4 'nowhere.json' "$colt5" init nowhere.json --output kept/other
echo '{"type": "feed_forward", "dim": 8, "num_heavy_tokens": 2, "nonsense": 1}' >bad.json
check 4 'nonsense' "$colt5" init bad.json --output kept/other
echo '{"type": "feed_forward", "dim": 8' >bad.json
check 4 'bad.json' "$colt5" init bad.json --output kept/other
echo '{"type": "feed_forward", "dim": 1048576, "num_heavy_tokens": 2}' >large.json
check 6 'smaller|memory' "$colt5" init large.json --output kept/other
kept ./model/config.json ./model/model.safetensors
for config in "$srcdir"/examples/*.json; do
    check 0 'model.safetensors' "$colt5" init "$config" --output example --dtype bf16
    rm -rf example
done

# ---- run ----
check 0 'relative error' "$colt5" run "$block" --input "$block/x.npy" --expect "$block/y.npy" \
    --output y.npy --routes-output r.safetensors
there y.npy r.safetensors
check 0 'relative error 0 ' "$colt5" run "$block" --input "$block/x.npy" --routes r.safetensors \
    --expect y.npy
check 0 'relative error' "$colt5" run "$block" --input "$block/x.npy" --dtype bf16 \
    --routes "$block/routes.safetensors" --expect "$block/y.npy"
check 5 'differs' "$colt5" run "$block" --input "$block/x.npy" --expect "$block/x.npy"
check 5 'relative error' "$colt5" run "$block" --input "$block/x.npy" --expect "$block/y.npy" \
    --rtol 1e-12
check 0 'p.npy' "$colt5" run "$block" --input "$block/x.npy" --pool mean --output p.npy
check 4 'shape' "$colt5" run "$block" --input "$block/x.npy" --expect p.npy
check 0 'm.npy' "$colt5" run "$golden/transformer_block_soft_mask" --output m.npy \
    --input "$golden/transformer_block_soft_mask/x.npy" \
    --mask "$golden/transformer_block_soft_mask/mask.npy"
check 0 'relative error' "$colt5" run "$golden/text_encoder_plain" \
    --input "$golden/text_encoder_plain/x.npy" --expect "$golden/text_encoder_plain/y.npy"
check 0 'relative error' "$colt5" run "$golden/masked_language_model_soft" \
    --input "$golden/masked_language_model_soft/x.npy" \
    --expect "$golden/masked_language_model_soft/y.npy"
head -c 3000 "$srcdir/tests/golden/golden_cases.py" >text.txt
check 0 't.npy' "$colt5" run kept/model --text text.txt --output t.npy
check 0 't2.npy' "$colt5" run kept/model --text text.txt --set num_heavy_ff_tokens=64 --output t2.npy
cmp -s t.npy t2.npy && wrong "--set changes nothing"
check 2 'num_heavy_tokens' "$colt5" run kept/model --text text.txt --set num_heavy_tokens=64
check 2 'NAME=K' "$colt5" run kept/model --text text.txt --set num_heavy_ff_tokens=0
check 2 'text models' "$colt5" run "$block" --text text.txt
: >empty.txt
rm -rf kept/*
for file in nowhere.npy text.txt "$block/config.json"; do
    check 4 "$(basename "$file")" "$colt5" run "$block" --input "$file" --output kept/y.npy
done
check 4 'rank|wide|dim' "$colt5" run "$block" --input p.npy --output kept/y.npy
check 4 'empty' "$colt5" run again --text empty.txt --output kept/y.npy
check 4 'nowhere' "$colt5" run nowhere --input "$block/x.npy" --output kept/y.npy
check 4 'no router' "$colt5" run again --text text.txt --routes r.safetensors --output kept/y.npy
check 4 'rank' "$colt5" run again --input "$block/x.npy" --output kept/y.npy
mkdir cut
cp again/config.json cut
head -c 5000 again/model.safetensors >cut/model.safetensors
check 4 'cut/model.safetensors' "$colt5" run cut --text text.txt --output kept/y.npy
check 4 'nowhere/y.npy' "$colt5" run "$block" --input "$block/x.npy" --output nowhere/y.npy
check 4 '/dev/full' "$colt5" run "$block" --input "$block/x.npy" --output /dev/full
kept

# ---- run, backward ----
soft=$golden/transformer_block_soft_mask
backward="$colt5 run $soft --input $soft/x.npy --mask $soft/mask.npy"
# shellcheck disable=SC2086 # several words
{
    check 0 'relative error .*: dx' $backward --grad "$soft/dy.npy" --grad-output g \
        --expect-grad "$soft/gradients" --expect "$soft/y.npy"
    check 0 'g2/dx.npy' $backward --grad "$soft/dy.npy" --grad-output g2 --recompute
    check 0 'relative error 0 .*: dx' $backward --grad "$soft/dy.npy" --expect-grad g
    check 5 '[0-9] of [0-9]+ gradients differ' $backward --grad "$soft/dy.npy" \
        --expect-grad "$soft/gradients" --grad-rtol 1e-12
    check 5 'of 24 gradients differ' $backward --grad "$soft/x.npy" \
        --expect-grad "$soft/gradients" --expect "$soft/x.npy"
    check 2 'want --grad' $backward --expect-grad g
    check 2 'want --grad' $backward --recompute
    check 4 'nowhere/gradients.safetensors' $backward --grad "$soft/dy.npy" --expect-grad nowhere
    check 4 'nowhere.npy' $backward --grad nowhere.npy --grad-output kept/g
    check 4 'dy is' $backward --grad p.npy --grad-output kept/g
    check 4 'is missing|shape' $backward --grad "$soft/dy.npy" \
        --expect-grad "$golden/feed_forward_soft/gradients"
}
there g/dx.npy g/gradients.safetensors
for file in dx.npy gradients.safetensors; do
    cmp -s g/$file g2/$file || wrong "--recompute gives another $file"
done
text=$golden/text_encoder_soft
check 0 'relative error .*: token_emb.weight' "$colt5" run "$text" --input "$text/x.npy" \
    --grad "$text/dy.npy" --expect-grad "$text/gradients" --grad-output g3
there g3/gradients.safetensors
[ ! -e g3/dx.npy ] || wrong "ids have a gradient"
kept

# ---- routes ----
check 0 'feedforward' "$colt5" routes again --text text.txt --html r.html
there r.html
if "$colt5" routes again --text text.txt --png r.png 2>"$work/err" >"$work/out"; then
    there r.png
elif ! grep -q 'without libpng' "$work/err"; then
    wrong "no picture: $(cat "$work/err")"
fi
check 0 'main' grep '</main>' r.html
check 0 '' "$colt5" routes again --text text.txt --json --set num_heavy_ff_tokens=64
json 'd["tokens"] == 3000 and len(d["layers"][1]["feedforward"]["index"]) == 64'
sed 's/text_encoder/masked_language_model/' "$srcdir/examples/text_encoder.json" >mlm.json
check 0 'mlm/model.safetensors' "$colt5" init mlm.json --output mlm
check 0 'to_logits.bias +F32 +258' "$colt5" info mlm
check 0 'feedforward' "$colt5" routes mlm --text text.txt --html r.html
check 0 'mlm' "$colt5" bench mlm --text text.txt --repeat 1 --no-ceilings
check 4 'reads no text' "$colt5" routes "$block" --text text.txt --html kept/r.html
check 4 'nowhere.txt' "$colt5" routes again --text nowhere.txt --html kept/r.html
check 2 'wants --text' "$colt5" routes again
kept

# ---- bench: ceilings take seconds, so only where something is asked of them ----
check 0 'tokens/s' "$colt5" bench again --text text.txt --repeat 2 --dense
check 0 '"block",f32,strict,1,256,0,' "$colt5" bench --seq 256 --repeat 1 --format csv --no-ceilings
ops=$(grep -oh 'colt5_[a-z_]*(colt5_context [*]ctx' "$srcdir"/include/colt5/ops/*.h |
    sed 's/^colt5_//; s/(.*//; s/_forward$//; /_backward$/d')
for op in $ops; do
    checks=$((checks + 1))
    grep -q "^\"$op\"," "$work/out" || wrong "bench does not time $op"
done
check 0 '' "$colt5" bench "$srcdir/examples/transformer_block.json" "$block" --seq 64 --repeat 2 \
    --format json --dtype f16
json 'len(d) == 2 and list(d[0]) == ["name", "dtype", "math", "batch", "seq", "backward",
    "median_ms", "min_ms", "max_ms", "peak_bytes", "launches", "flop", "bytes",
    "tflop_per_second", "gb_per_second", "copy_share", "product_share"]
    and 0 < d[0]["product_share"] and d[0]["backward"] is False'
check 0 't.json' "$colt5" bench --backward --seq 256 --repeat 1 --format json --profile t.json
json 'all(r["backward"] is True and r["launches"] > 1 and r["bytes"] > 0 for r in d)
    and {"block", "local_attention", "linear", "topk"} <= {r["name"] for r in d}
    and all(abs(r["gb_per_second"] * r["median_ms"] * 1e6 / r["bytes"] - 1) < 1e-6 for r in d)
    and all(abs(r["tflop_per_second"] * r["median_ms"] * 1e9 - r["flop"]) <= 1e-6 * r["flop"] for r in d)'
cp "$work/out" before.json
cp t.json "$work/out"
json '(lambda spans, names: len(names) > 10 and names[-1] == "block, f32, 1 x 256, with backward"
    and {"clear", "layer_norm_forward"} < {e["name"] for e in spans}
    and all(e["dur"] >= 0 and e["ts"] >= 0 for e in spans)
    and all(a["ts"] <= b["ts"] for a, b in zip(spans, spans[1:]) if a["pid"] == b["pid"])
    and sum(e["args"].get("flop", 0) for e in spans) > 1e9)
    ([e for e in d["traceEvents"] if e["ph"] == "X"],
     [e["args"]["name"] for e in d["traceEvents"] if e["name"] == "process_name"])'
if command -v python3 >/dev/null; then
    check 0 '^[|] light attention [|] `' python3 "$srcdir/bench/trace_picture.py" t.json \
        --heading "block, f32" --rows before.json --output picture.svg
    check 0 '</svg>' tail -n 1 picture.svg
fi
check 0 '^[|] block [|].* yes [|]' "$colt5" bench --backward --seq 256 --repeat 1 --no-ceilings \
    --compare before.json
check 0 '' "$colt5" bench again --backward --text text.txt --repeat 1 --format json \
    --no-ceilings --compare before.json
json 'd[0]["ratio"] is None and d[0]["seq"] == 3000'
check 0 ',ratio$' "$colt5" bench "$block" --input "$block/x.npy" --repeat 1 --format csv \
    --no-ceilings --compare before.json
check 0 '' "$colt5" bench --only gather --only gelu --seq 64 --repeat 1 --format json --no-ceilings
json '[r["name"] for r in d] == ["gather", "gelu"] and "copy_share" not in d[0]'
check 2 'no op' "$colt5" bench --only nothing
check 2 'has a backward' "$colt5" bench --only token_mask --backward
check 2 'is a model' "$colt5" bench "$block" --only gather
check 4 'nowhere.json' "$colt5" bench "$block" --compare nowhere.json
tune() {
    want=$1 pattern=$2 file=$3
    shift 3
    check "$want" "$pattern" env COLT5_TUNING="$file" "$colt5" bench --tune "$@"
}
tune 0 '^[|] parts_a_unit [|]' kept/tuning.json --only parts_a_unit --only plain_group --seq 64 --dtype f32
grep -q 'plain_group = 32: [0-9.]* times as fast' "$work/err" || wrong "--tune tells no progress"
grep -q '^kept/tuning.json$' "$work/out" || wrong "--tune does not name its file"
kept ./tuning.json
cp kept/tuning.json "$work/out"
json 'all(set(v) == {"driver", "library", "values"} and len(v["values"]) < 3 for v in d.values())'
tune 2 'no tunable' kept/tuning.json --only gather
tune 2 'is a model' kept/tuning.json "$block"
tune 2 'alone' kept/tuning.json --backward
tune 4 'COLT5_TUNING is off' off
tune 4 'is not JSON' text.txt
tune 4 'nowhere/tuning.json' nowhere/tuning.json
check 0 'text.txt is not JSON .* left out' env COLT5_TUNING=text.txt "$colt5" run "$block" \
    --input "$block/x.npy" --expect "$block/y.npy"
rm -rf kept/*
check 4 't.json' "$colt5" bench "$block" --no-ceilings --compare t.json
check 4 'nowhere.npy' "$colt5" bench "$block" --no-ceilings --input nowhere.npy
check 4 'no input' "$colt5" bench again --input "$block/x.npy"
check 2 'wants a model' "$colt5" bench --input "$block/x.npy"
check 2 'no --text' "$colt5" bench "$block" --input "$block/x.npy" --seq 8
check 4 '/dev/full' "$colt5" bench "$block" --input "$block/x.npy" --repeat 1 --no-ceilings \
    --profile /dev/full
check 0 't.json' "$colt5" run "$block" --input "$block/x.npy" --profile t.json
cp t.json "$work/out"
json '(lambda spans: len(spans) > 20 and {e["args"]["part"] for e in spans if "part" in e["args"]}
    == {"router", "light attention", "heavy attention", "light feedforward", "heavy feedforward"})
    ([e for e in d["traceEvents"] if e["ph"] == "X"])'
check 4 'nowhere/t.json' "$colt5" run "$block" --input "$block/x.npy" --profile nowhere/t.json
check 4 'nowhere' "$colt5" bench nowhere --no-ceilings
check 4 'bytes' "$colt5" bench again --no-ceilings --text text.txt --seq 5000
check 4 'standard output' sh -c "'$colt5' devices >/dev/full"

# ---- interrupted: once the work has begun ----
head -c 16384 /dev/zero | tr '\0' 'a' >long.txt
checks=$((checks + 1))
"$colt5" run again --text long.txt --set num_heavy_attn_tokens=16384 --progress json \
    --output kept/y.npy --routes-output kept/r.safetensors >/dev/null 2>stopped.err &
process=$!
tries=0
sleep 0.1
until grep -q '"progress"' stopped.err || [ $tries = 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -INT $process
wait $process
code=$?
[ $code = 130 ] || { wrong "interrupted, but exit code $code"; cat stopped.err; }
kept

# ---- examples ----
cd "$OLDPWD" || exit 99
example=$PWD/examples/train
sed 's/"dim": 64/"dim": 16/' "$srcdir/examples/presets/tiny.json" >"$work/tiny.json"
cd "$work" || exit 99
check 0 '^step 2: [0-9.]+ bits per hidden byte' "$example" tiny.json again/model.safetensors 2
there trained/config.json trained/model.safetensors
cd "$OLDPWD" || exit 99
check 0 '^[0-9.e-]+$' ./examples/fit "$block" "$block/x.npy" "$block/y.npy" 2 1e-3 "$work/fitted"
there "$work/fitted/config.json" "$work/fitted/model.safetensors"
check 0 'y\[0\] begins with' ./examples/borrowed_context
check 0 '^-?[0-9.]+( -?[0-9.]+){63}$' ./examples/encode "$work/again" "In the beginning was the Word"

echo "100%: Checks: $checks, Failures: $failures, Errors: 0"
[ $failures = 0 ]
