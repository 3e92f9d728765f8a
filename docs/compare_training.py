#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train a masked language model twice, with PyTorch and with `colt5 train`, and compare the losses step by step.

    python3 docs/compare_training.py --colt5 build/colt5 --output twice FILE...

Both start from the weights of `colt5 init` and see the same windows with the same bytes hidden, from the same counter-based generator
(include/colt5/train.h says the rule; here it is a second time). The PyTorch side is the package colt5-attention with its faults mended
and libcolt5's order among equal scores (docs/from_pytorch.py), torch.optim.AdamW, and the same learning rates, clipping and decay.

--config takes a training's file, {"model": {...}, "training": {...}}; without it a small model is trained for 50 steps.
--first stops after the first loss: PyTorch's against that of the logits `colt5 run` gives for the first batch.

Exit code 5 where a loss differs by more than --limit (1e-4, relative). Needs what docs/from_pytorch.py needs.
"""
import argparse, csv, json, math, pathlib, subprocess, sys
import numpy, torch
import from_pytorch
from torch import nn

MASK, STREAM = 257, 4

MODEL = {"type": "masked_language_model", "dim": 64, "depth": 2, "num_heavy_attn_tokens": 32, "num_heavy_ff_tokens": 32,
         "light_dim_head": 16, "light_heads": 4, "light_window_size": 32, "heavy_dim_head": 16, "heavy_heads": 4,
         "router_kwargs": {"cosine_sim_routing": True, "cosine_sim_scale": 4, "eps": 1, "eps_init": 1}}  # every router gets gradients

TRAINING = {"steps": 50, "seq": 256, "batch": 4, "warmup_steps": 10}

DEFAULTS = {"steps": 1000, "seq": 512, "batch": 8, "accumulate": 1, "learning_rate": 1e-3, "final_share": 0.1, "warmup_steps": 100,
            "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "decay": 0.1, "max_norm": 1, "seed": 0, "held_out_share": 0.1}


# --- data: which bytes a window has, and which of them are hidden -------------------------------------------------------

def philox(counter, seed):
    """Philox4x32-10: four words of 32 bits."""
    c, k = list(counter), [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return c


LONGER = [(2 ** k << 32) // 3 ** k for k in range(1, 10)]  # a span is longer than k where its word is smaller


class Data:
    def __init__(self, paths, options):
        contents = [pathlib.Path(path).read_bytes() for path in paths]
        self.bytes = numpy.frombuffer(b"".join(c[:len(c) - int(len(c) * options["held_out_share"])] for c in contents), numpy.uint8)
        self.N, self.seed = options["seq"], options["seed"]

    def words(self, number, draw):
        return philox((draw, number >> 32, number & 0xFFFFFFFF, STREAM), self.seed)

    def hidden(self, number):
        N, draw, started = self.N, 0, set()
        hidden, budget = numpy.zeros(N, bool), max(N * 15 // 100, 1)
        while hidden.sum() < budget:
            draw += 1
            place, length, *_ = self.words(number, draw)
            start = place * N >> 32
            if start in started:
                continue
            started.add(start)
            for n in range(start, min(N, start + 1 + sum(length < word for word in LONGER))):
                hidden[n] |= hidden.sum() < budget
        return hidden

    def window(self, number):
        """ids and targets, [N] each: 257 where hidden, -1 where not."""
        low, high, *_ = self.words(number, 0)
        start = (high << 32 | low) * (len(self.bytes) - self.N + 1) >> 64
        text, hidden = self.bytes[start:start + self.N].astype(numpy.int64), self.hidden(number)
        return numpy.where(hidden, MASK, text), numpy.where(hidden, text, -1)

    def batch(self, first, count):
        windows = [self.window(first + b) for b in range(count)]
        return tuple(torch.from_numpy(numpy.stack(part)) for part in zip(*windows))


# --- the model and its steps, in PyTorch --------------------------------------------------------------------------------

def load(folder, dtype=torch.float32):
    """The model of a folder: its routers in libcolt5's order, its rotary frequencies exact."""
    return from_pytorch.prepare(from_pytorch.load(folder).to(dtype))


def loss_of(model, ids, targets):
    with from_pytorch.patched(model, ids, True):
        logits = model(ids)
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def learning_rate(options, step):
    peak, warm, last = options["learning_rate"], options["warmup_steps"], options["steps"] - 1
    least = peak * options["final_share"]
    if step < warm:
        return peak * (step + 1) / warm
    if step >= last:
        return least
    return least + (peak - least) * (1 + math.cos(math.pi * (step - warm) / (last - warm))) / 2


def decays(name, parameter):
    """Weights of linear maps alone."""
    return name.endswith(".weight") and parameter.ndim == 2 and name != "token_emb.weight"


def optimizer(model, options):
    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[decays(name, parameter)].append(parameter)
    return torch.optim.AdamW([{"params": groups[True], "weight_decay": options["decay"]}, {"params": groups[False], "weight_decay": 0}],
                             betas=(options["beta1"], options["beta2"]), eps=options["eps"])


def clip(parameters, most):
    norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in parameters if p.grad is not None))
    for p in parameters:
        if most and norm > most and p.grad is not None:
            p.grad *= most / norm


def train(model, data, options):
    """Yields the loss of each step, in nats."""
    adamw, B, parts = optimizer(model, options), options["batch"], options["accumulate"]
    for step in range(options["steps"]):
        adamw.zero_grad()
        total = 0.0
        for part in range(parts):
            loss = loss_of(model, *data.batch((step * parts + part) * B, B)) / parts
            loss.backward()
            total += float(loss.detach())
        clip(list(model.parameters()), options["max_norm"])
        for group in adamw.param_groups:
            group["lr"] = learning_rate(options, step)
        adamw.step()
        yield total


# --- the command --------------------------------------------------------------------------------------------------------

def colt5(a, *arguments):
    code = subprocess.run([a.colt5, *map(str, arguments), *(["--device", a.device] if a.device else [])]).returncode
    if code:
        sys.exit(code)


def compare_first(a, start, data, options):
    """The first loss by PyTorch, and from the logits of `colt5 run`."""
    ids, targets = data.batch(0, options["batch"])
    with torch.no_grad():
        want = float(loss_of(load(start), ids, targets))
    numpy.save(a.output / "ids.npy", ids.numpy().astype(numpy.int32))
    colt5(a, "run", start, "--input", a.output / "ids.npy", "--output", a.output / "logits.npy", "--seed", options["seed"])
    logits = torch.from_numpy(numpy.load(a.output / "logits.npy"))
    have = float(nn.functional.cross_entropy(logits.double().flatten(0, 1), targets.flatten(), ignore_index=-1))
    print(f"first loss: PyTorch {want:.8f}, libcolt5 {have:.8f}, {abs(have / want - 1):.1e} relative")
    return abs(have / want - 1)


def compare_all(a, start, data, options):
    model, want = load(start, torch.float64 if a.double else torch.float32), []
    for loss in train(model, data, options):
        want.append(loss / math.log(2))
        if len(want) % 10 == 0:
            print(f"PyTorch: step {len(want)} of {options['steps']}, {want[-1]:.6f} bits", file=sys.stderr)
    files = [argument for path in a.data for argument in ("--data", path)]
    colt5(a, "train", "--config", a.output / "training.json", *files, "--output", a.output / "trained")
    with open(a.output / "trained" / "log.csv") as file:
        have = [float(row["training_bits"]) for row in csv.DictReader(file) if row["training_bits"]]
    if len(have) != len(want):
        sys.exit(f"log.csv has {len(have)} steps, not {len(want)}")
    with open(a.output / "losses.csv", "w") as file:
        file.write("step,pytorch_bits,libcolt5_bits\n" + "".join(f"{i + 1},{w:.9g},{h:.9g}\n" for i, (w, h) in enumerate(zip(want, have))))
    errors = [abs(h / w - 1) for w, h in zip(want, have)]
    for i in sorted({0, len(want) // 4, len(want) // 2, 3 * len(want) // 4, len(want) - 1}):
        print(f"step {i + 1:4}: PyTorch {want[i]:.6f} bits, libcolt5 {have[i]:.6f}, {errors[i]:.1e} relative")
    print(f"largest difference of {len(want)} losses: {max(errors):.1e} relative, in step {errors.index(max(errors)) + 1}"
          f" (all are in {a.output}/losses.csv)")
    trained = from_pytorch.load(a.output / "trained").state_dict()
    off = {name: from_pytorch.error(trained[name], t.detach()) for name, t in model.named_parameters()}
    print(f"largest difference of a tensor in the end: {max(off.values()):.1e} relative, {max(off, key=off.get)}")
    return max(errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="FILE", help="what to train on")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="a folder for all that is made")
    parser.add_argument("--config", type=pathlib.Path, help='{"model": {...}, "training": {...}}')
    parser.add_argument("--steps", type=int)
    parser.add_argument("--colt5", default="colt5", help="the program")
    parser.add_argument("--device")
    parser.add_argument("--double", action="store_true", help="PyTorch in float64: whose rounding is it?")
    parser.add_argument("--first", action="store_true", help="the first loss alone")
    parser.add_argument("--limit", type=float, default=1e-4)
    a = parser.parse_args()
    given = json.loads(a.config.read_text()) if a.config else {"model": MODEL, "training": TRAINING}
    if a.steps:
        given.setdefault("training", {})["steps"] = a.steps
    options = {**DEFAULTS, **given.get("training", {})}
    start = a.output / "start"
    if (a.output / "trained").exists():
        sys.exit(f"{a.output}/trained is there already")
    start.mkdir(parents=True, exist_ok=True)
    from_pytorch.write_json(a.output / "training.json", given)
    from_pytorch.write_json(a.output / "model.json", given["model"])
    colt5(a, "init", a.output / "model.json", "--seed", options["seed"], "--output", start)
    data = Data(a.data, options)
    worst = compare_first(a, start, data, options)
    if not a.first:
        worst = max(worst, compare_all(a, start, data, options))
    sys.exit(5 if worst > a.limit else 0)


if __name__ == "__main__":
    main()
