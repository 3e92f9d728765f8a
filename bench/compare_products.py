#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Matrix products by PyTorch (cuBLAS) and by libcolt5, in turn, on one device: the table of products of docs/benchmarks.md.

    make -C build bench/gemm_device
    python3 bench/compare_products.py --gemm build/bench/gemm_device                                   on the GPU where PyTorch sees one
    python3 bench/compare_products.py --gemm build/bench/gemm_device --device cpu --backend packed     on the CPU

On both sides a time is the mean of a run of calls with one wait at the end, the best of five such runs: bench/gemm_device.c, and
torch.matmul with out=. The sides have their turns shape by shape, --rounds times over, and the least time counts. Values are random,
of each side's own; errors are against float64 and both sides' are told below the table.

Needs: torch.
"""
import argparse, re, subprocess, sys, time

SHAPES = ("8192x8192x8192", "65536x512x1536", "65536x512x512", "65536x512x256", "65536x256x512", "2048x512x2048", "2048x2048x512")
TYPES = {"bf16": "bf16", "f16": "f16", "tf32": "f32", "fp32": "f32"}  # what gemm_device calls them
LINE = re.compile(r"(\w+) +(f32|f16|bf16) +\d+ x +\d+ -> +\d+ +([\d.]+) us .*error (\S+)")
RUNS, RUN_SECONDS, MOST_CALLS, CHECKED_ROWS = 5, 0.05, 500, 16  # as in gemm_device.c


# --- the two sides: microseconds and error of each type -----------------------------------------------------------------

def parse(text):
    """What gemm_device printed, by backend and type."""
    return {match.group(1, 2): (float(match[3]), float(match[4])) for match in map(LINE.match, text.splitlines()) if match}


def backend_of(options, kind):
    return "tf32" if kind == "tf32" else options.backend


def ours(options, shape):
    found = {}
    for backend in dict.fromkeys(backend_of(options, kind) for kind in options.types):
        done = subprocess.run([options.gemm, options.colt5_device, backend, *map(str, shape)], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{options.gemm}: exit code {done.returncode}")
        found |= parse(done.stdout)
    return {kind: found.get((backend_of(options, kind), TYPES[kind])) for kind in options.types}


def theirs(options, shape):
    return {kind: product(options, kind, *shape) for kind in options.types}


def product(options, kind, M, K, N):
    import torch
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(kind, torch.float32)
    new = lambda *dims: torch.randn(*dims, device=options.device).to(dtype)
    a, b, c = new(M, K), new(N, K).t(), new(M, N)

    def run(calls):
        start = time.perf_counter()
        for _ in range(calls):
            torch.matmul(a, b, out=c)
        if options.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / calls

    run(1)
    calls = max(1, min(MOST_CALLS, int(RUN_SECONDS / run(2))))
    best = min(run(calls) for _ in range(RUNS))
    rows = slice(None, None, max(1, M // CHECKED_ROWS))
    exact = a[rows].double() @ b.double()
    return best * 1e6, float((c[rows].double() - exact).norm() / exact.norm())


# --- the run ------------------------------------------------------------------------------------------------------------

def better(one, other):
    return min((side for side in (one, other) if side), default=None)


def measure(options):
    """Both sides of each shape, by type: the least times of the rounds."""
    results = {shape: ({}, {}) for shape in options.shapes}
    for round_ in range(options.rounds):
        for shape, sides in results.items():
            for best, side in zip(sides, (ours, theirs)):
                for kind, result in side(options, shape).items():
                    best[kind] = better(best.get(kind), result)
        print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr, flush=True)
    return results


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cells(shape, mine, other):
    """Ours, theirs, and how many times as fast as theirs."""
    M, K, N = shape
    if not mine:
        return ["–", f"{number(other[0])} µs", ""]
    speed = number(2e-6 * M * K * N / mine[0])
    return [f"{number(mine[0])} µs, {speed} TFLOP/s", f"{number(other[0])} µs", f"{other[0] / mine[0]:.2f}"]


def table(options, results):
    heading = ["M × K → N"]
    for kind in options.types:
        heading += [kind, "PyTorch", ""]
    yield heading
    yield ["---"] * len(heading)
    for shape, (mine, other) in results.items():
        row = ["{} × {} → {}".format(*shape)]
        for kind in options.types:
            row += cells(shape, mine[kind], other[kind])
        yield row


def errors(options, results):
    yield ["error, M × K → N"] + [name for kind in options.types for name in (kind, "PyTorch")]
    yield ["---"] * (1 + 2 * len(options.types))
    for shape, sides in results.items():
        found = (side[kind] for kind in options.types for side in sides)
        yield ["{} × {} → {}".format(*shape)] + [f"{side[1]:.1e}" if side else "–" for side in found]


def show(rows):
    print("\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n")


def shape_of(text):
    M, K, N = map(int, text.split("x"))
    return M, K, N


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gemm", default="bench/gemm_device", help="the program that bench/gemm_device.c makes")
    parser.add_argument("--colt5-device", default="", help="its device")
    parser.add_argument("--backend", default="wgmma", help="its backend; tf32 is wgmma's")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="PyTorch's")
    parser.add_argument("--types", nargs="+", choices=TYPES)
    parser.add_argument("--shapes", nargs="+", type=shape_of, metavar="MxKxN", default=list(map(shape_of, SHAPES)))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.types = options.types or (["bf16", "tf32", "fp32"] if options.device == "cuda" else ["fp32"])
    return options


def main():
    options = read_options()
    results = measure(options)
    show(table(options, results))
    show(errors(options, results))


if __name__ == "__main__":
    main()
