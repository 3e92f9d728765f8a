#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the golden cases of this folder: small modules run by PyTorch in float64, and what they must give.

    make_golden.py [--output DIR] [CASE ...]      all cases, or those whose name contains a word
    make_golden.py --list                         names and what each is for
    make_golden.py --check                        make them elsewhere and compare with what is here

README.md has the format. The modules are those of the package colt5-attention, run and mended by docs/from_pytorch.py. What the
package does not have (Sinkhorn, cumulative softmax, routing in several blocks, random and injected routes) is written here a
second time, straight from its definition, and differentiated by autograd.
"""
import os
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ATEN_CPU_CAPABILITY"] = "default"  # the same random numbers and float32 sums on every x86-64
os.environ["MKL_CBWR"] = "COMPATIBLE"

import argparse, importlib.metadata, json, math, pathlib, platform, shutil, sys, tempfile, zlib
import numpy, torch
from colt5_attention import CoordinateDescentRouter
from colt5_attention.coor_descent import coor_descent
from colt5_attention.transformer_block import RouterReturn
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # this folder is distributed whole
sys.path.insert(0, str(HERE.parent.parent / "docs"))
import from_pytorch as oracle
from golden_cases import CASES, SOLVER_CASES, TOPK_CASES

GAP = 1e-3  # chosen and left tokens must differ by this much, so that float32 chooses the same


# --- random numbers: Philox4x32-10 --------------------------------------------------------------------------------------

def philox(seed, token, slot, row, stream):
    """The first output word of counter (token, slot, row, stream) under the key `seed`; the counters broadcast."""
    words = [w.astype(numpy.uint64) for w in numpy.broadcast_arrays(token, slot, row, stream)]
    key, low = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF], numpy.uint64(0xFFFFFFFF)
    for _ in range(10):
        first, second = words[0] * numpy.uint64(0xD2511F53), words[2] * numpy.uint64(0xCD9E8D57)
        words = [second >> numpy.uint64(32) ^ words[1] ^ numpy.uint64(key[0]), second & low,
                 first >> numpy.uint64(32) ^ words[3] ^ numpy.uint64(key[1]), first & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return words[0]


def uniform(seed, slots, rows, tokens, stream):
    """[rows, slots, tokens] numbers inside (0, 1), multiples of 2^-24."""
    row, slot, token = numpy.ogrid[:rows, :slots, :tokens]
    word = philox(seed, token, slot, row, stream)
    return torch.from_numpy(((word >> numpy.uint64(9)).astype(numpy.float64) + 0.5) * 2.0 ** -23)


# --- the routers the package lacks --------------------------------------------------------------------------------------

def sinkhorn(s, valid, slots, noise, temperature=0.7, n_iters=8, log_scores=False):
    """Log of the assignment [..., slots, tokens]; -inf where a token is masked. Every row needs a valid token."""
    f = s.clamp(min=1e-20).log() if log_scores else s
    u = noise(slots).to(s.dtype).reshape(*s.shape[:-1], slots, s.shape[-1])
    valid = valid.unsqueeze(-2)
    p = torch.where(valid, (f.unsqueeze(-2) - (-u.log()).log()) / temperature, -torch.inf)
    for _ in range(n_iters):
        p = p - p.logsumexp(dim=-1, keepdim=True)
        p = torch.where(valid, p - torch.where(valid, p, 0).logsumexp(dim=-2, keepdim=True), -torch.inf)
    return p


def cumulative_softmax(s, valid, temperature=1.0):
    t = s / temperature
    top = torch.where(valid, t, -torch.inf).amax(dim=-1, keepdim=True).detach()
    e = torch.where(valid, (t - top).exp(), 0)
    ascending = oracle.spec_order(s, valid).flip(-1)
    e = e.gather(-1, ascending)
    score = e / e.cumsum(dim=-1).clamp(min=1e-6)
    return torch.zeros_like(s).scatter(-1, ascending, score)


class SpecRouter(CoordinateDescentRouter):
    """Any router, written from its definition. Rows are [B, R, blocks]; an ordinary router has one block."""

    def choose(self, s, valid, k):
        """Scores of all tokens (None: no gradient), indices of the chosen ones, and their gap."""
        rows = math.prod(s.shape[:-1])
        if self.random_route:
            s = uniform(self.seed, 1, rows, s.shape[-1], stream=2).reshape(s.shape)
            score, distance = None, torch.inf
        elif self.router_type == "cum_softmax":
            score = cumulative_softmax(s, valid, **self.options)
        else:
            k_solver = min(k * self.fetch_k_ratio, s.shape[-1])
            score = coor_descent(s, mask=valid, k=k_solver, n_iters=self.n_iters, eps=self.eps, eps_init=self.eps_init,
                                 eps_decay=self.eps_decay)
        order = oracle.spec_order(s, valid)
        if not self.random_route:
            distance = oracle.gap(s, valid, order, k)
        return score, order[..., :k].sort(dim=-1).values, distance

    def slots(self, s, valid, k):
        """Sinkhorn: scores and indices of k slots."""
        rows = math.prod(s.shape[:-1])
        p = sinkhorn(s, valid, k, lambda slots: uniform(self.seed, slots, rows, s.shape[-1], stream=1), **self.options)
        best = p.detach().sort(dim=-1, descending=True, stable=True)
        two = torch.where(valid.unsqueeze(-2).expand_as(p).gather(-1, best.indices[..., :2]), best.values[..., :2], -torch.inf)
        indices = best.indices[..., 0]
        if self.fixed is not None:
            indices = self.fixed.reshape(indices.shape)
        return p.gather(-1, indices.unsqueeze(-1)).squeeze(-1).exp(), indices, float((two[..., 0] - two[..., 1]).min())

    def forward(self, x, *, num_tokens, mask=None, **_):
        n, routes = x.shape[1], self.num_routing_tokens
        if n <= num_tokens:
            return super().forward(x, num_tokens=num_tokens, mask=mask)
        if self.cosine_sim_routing:
            unit = lambda t: torch.nn.functional.normalize(t, dim=-1)
            s = torch.einsum("bnd,rd->brn", unit(x), unit(self.routing_token)) * self.cosine_sim_scale
        else:
            s = torch.einsum("bnd,rd->brn", x, self.routing_token)
        s = oracle.shaken(s, self.noise)
        width = min(self.route_block_size or n, n)
        blocks = n // width
        k = min(math.ceil(num_tokens / blocks), width)
        real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        cut = lambda t: t[..., : blocks * width].unflatten(-1, (blocks, width))
        s, valid = cut(s), cut(real.unsqueeze(1).expand(-1, routes, -1))

        start = torch.arange(blocks).unsqueeze(-1) * width
        some = valid.any(dim=-1, keepdim=True)
        s, solvable = torch.where(some, s, 0), valid | ~some  # rows without a valid token: solved as if all were, then dropped
        if self.router_type == "sinkhorn" and not self.random_route:
            score, indices, self.gap = self.slots(s, solvable, k)
            indices = torch.where(some, indices, 0)
        else:
            score, indices, self.gap = self.choose(s, solvable, k)
            if self.fixed is not None:
                indices = self.fixed.reshape(indices.shape) - start
            score = torch.ones_like(indices, dtype=x.dtype) if score is None else score.gather(-1, indices)
        if self.straight_through:
            score = score + (1 - score).detach()
        taken = valid.gather(-1, indices)
        score = torch.where(taken, score, 0)

        indices = (indices + start).flatten(-2)
        score, taken = score.flatten(-2), taken.flatten(-2)
        tokens = x.unsqueeze(1).expand(-1, routes, -1, -1).gather(2, indices.unsqueeze(-1).expand(-1, -1, -1, x.shape[-1]))
        out = indices, score, tokens, taken if mask is not None else None
        return RouterReturn(*(out if routes > 1 else (None if t is None else t.squeeze(1) for t in out)))

    def route_back(self, src, routed_tokens, indices):
        """Scatter-mean: several slots of a sinkhorn router may bring back the same token."""
        at = indices.unsqueeze(-1).expand_as(routed_tokens)
        total = torch.zeros_like(src).scatter_add(1, at, routed_tokens)
        count = torch.zeros_like(src).scatter_add(1, at, torch.ones_like(routed_tokens))
        return torch.where(count > 0, total / count.clamp(min=1), src)


class InjectedRouter(CoordinateDescentRouter):
    """Indices and scores [B,R,K] from the caller; nothing to learn."""

    def forward(self, x, *, mask=None, **_):
        indices, scores = self.injected
        real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        pick = lambda t: oracle.gather_routed(t.repeat_interleave(indices.shape[1], dim=0), indices)
        out = indices, scores.to(x.dtype), pick(x), pick(real)
        return RouterReturn(*(out if indices.shape[1] > 1 else (t.squeeze(1) for t in out)))


def in_order(routers):
    """Layer by layer: query, key-value, feedforward."""
    rank = {"q_router": 0, "kv_router": 1, "router": 2}
    layer = lambda name: int(name.split(".")[name.split(".").index("layers") + 1]) if "layers." in name else 0
    return sorted(routers.items(), key=lambda item: (layer(item[0]), rank[item[0].split(".")[-1]]))


def make_module(case, generator):
    """The module of a case's config; package code but for its routers where they do not do."""
    config = json.loads(json.dumps(case.config))
    kwargs, kind = config.get("router_kwargs", {}), config.pop("router_type", "coor_descent")
    random_route, ours = config.pop("random_route", False), kind != "coor_descent"
    if ours:
        config.pop("router_kwargs", None)
    module = oracle.build(config)
    if not ours and not random_route and not case.injected and "route_block_size" not in kwargs:
        check_description(module, config)
        return module
    for i, (name, router) in enumerate(in_order(oracle.routers(module))):
        if case.injected:
            rows = case.batch, router.num_routing_tokens
            tokens = config["num_heavy_tokens_kv" if name == "kv_router" else "num_heavy_tokens_q" if name == "q_router" else "num_heavy_tokens"]
            indices = torch.rand(*rows, case.tokens, generator=generator).argsort(dim=-1)[..., :tokens]
            router.__class__, router.injected = InjectedRouter, (indices, torch.rand(*rows, tokens, generator=generator))
        else:
            router.__class__ = SpecRouter
            router.router_type, router.options, router.random_route = kind, kwargs if ours else {}, random_route
            router.seed = case.seed + i
    return module


def check_description(module, config):
    """from_pytorch must find by itself what the config says."""
    found, defaults = oracle.describe(module), {"num_heavy_tokens": "num_heavy_tokens_%s", "num_heavy_attn_tokens": "num_heavy_attn_tokens_%s"}
    for key, value in config.items():
        if key in defaults and key not in found:
            assert all(found[defaults[key] % side] == value for side in ("q", "kv")), key
        elif key == "router_kwargs":
            assert all(found[key][name] == option for name, option in value.items()), value
        elif key == "light_window_size":
            assert found[key] in (value, value - 1), key  # an odd one means the even one below
        elif key not in ("default_coor_descent_eps", "image_size", "patch_size", "channels"):
            assert found.get(key) == value, f"{key}: {found.get(key)} is not {value}"
    if config["type"] != "vit":
        again = oracle.build(found)
        assert oracle.describe(again) == found
        assert {n: p.shape for n, p in again.state_dict().items()} == {n: p.shape for n, p in module.state_dict().items()}


# --- cases of modules ---------------------------------------------------------------------------------------------------

def make_mask(words, tokens, generator):
    """One word a sample: full, none, holes (about a third masked), tail (the last quarter masked), or the number of valid tokens."""
    rows = []
    for word in words:
        row = torch.ones(tokens, dtype=torch.bool)
        if word == "none":
            row[:] = False
        elif word == "holes":
            row = torch.rand(tokens, generator=generator) > 1 / 3
        elif word == "tail":
            row[tokens - tokens // 4:] = False
        elif word != "full":
            row[torch.randperm(tokens, generator=generator)[int(word):]] = False
        rows.append(row)
    return torch.stack(rows)


def make_inputs(case, generator):
    c, dim = case.config, case.config.get("dim")
    mask = make_mask(case.mask, case.tokens, generator) if case.mask else None
    if "vocab_size" in c or c["type"] in ("text_encoder", "masked_language_model"):
        x = torch.randint(256, (case.batch, case.tokens), generator=generator)
        for b, padding in enumerate(case.padding):
            x[b, case.tokens - padding:] = oracle.PADDING
        return dict(x=x if case.wide_ids else x.int(), mask=mask)
    shape = case.shape or (case.batch, case.tokens, dim)
    x = torch.randn(shape, generator=generator)
    if case.ties:
        x[:, 1::2] = x[:, ::2][:, : x[:, 1::2].shape[1]]
    if c["type"] == "cross_attention":
        context = torch.randn(case.batch, case.context, dim, generator=generator)
        return dict(x=x, mask=mask, context=context,
                    context_mask=make_mask(case.context_mask, case.context, generator) if case.context_mask else None)
    return dict(x=x, mask=mask)


def stir(module, generator):
    """Norms off their initial ones and zeros, so that leaving one out shows."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim == 1 and name.split(".")[-1] in ("gamma", "weight", "bias"):
                p += 0.2 * torch.randn(p.shape, generator=generator)


def judge(case, result, folder):
    """What the case claims about itself; returns what case.json says."""
    gradients, tolerance = result.gradients, json.loads((folder / "gradients" / "tolerance.json").read_text())
    largest = max(float(g.norm()) for g in gradients.values())
    tokens = {name: float(g.norm()) for name, g in gradients.items() if name.endswith("routing_token")}
    assert largest > 0 and all(bool(g.isfinite().all()) for g in gradients.values()), "a gradient is not finite"
    for name, norm in tokens.items():
        if case.routing == "nonzero" and name.removesuffix(".routing_token") not in case.unrouted:
            assert norm > 1e-3 * largest and tolerance[name] < 1e-2, f"{name}: {norm} of {largest}, {tolerance[name]}"
        if case.routing == "zero":
            assert norm == 0, f"{name}: {norm}"
        assert norm == 0 or norm > 1e-4 * largest, f"{name}: {norm} of {largest}, too near 0 to compare"
    return {"about": case.about, "seed": case.seed, "routes": "injected" if case.injected else "chosen", "ties": case.ties,
            "routing_gradient": case.routing, "unrouted": list(case.unrouted), "oracle": case.oracle}


def check_condition(module, inputs, exact, folder):
    """A solver has kinks (a score that just reaches 1), and a gradient may jump there: no such case here."""
    inputs, dy = oracle.Inputs(**inputs), torch.from_numpy(numpy.load(folder / "dy.npy"))
    fixed = {name: indices for name, (indices, _) in exact.routes.items()}
    for seed in range(4):
        shaken = oracle.run(module, inputs, torch.float64, dy, fixed, noise=(torch.Generator().manual_seed(seed), 8))
        for name, want in exact.gradients.items():
            off = oracle.error(shaken.gradients[name], want)
            assert off < 1e-2 and (float(want.norm()) > 0 or float(shaken.gradients[name].norm()) == 0), f"{name} is off by {off}"


def make_case(case, folder):
    for attempt in range(50):
        generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()) + attempt)
        torch.manual_seed(int(torch.randint(2 ** 31, (1,), generator=generator)))
        module, inputs = make_module(case, generator), make_inputs(case, generator)
        stir(module, generator)
        result = oracle.save(module, folder, **inputs, seed=attempt, config=case.config)
        try:
            about = judge(case, result, folder)
            check_condition(module, inputs, result, folder)
        except AssertionError as reason:
            failure = reason
            continue
        if result.gap >= GAP:
            break
        failure = f"gap {result.gap}"
    else:
        raise SystemExit(f"{case.name}: {failure}")
    if inputs.get("mask") is not None and "dx" in result.gradients and case.config["type"] != "image_attention":
        assert float(result.gradients["dx"][~inputs["mask"]].abs().max()) == 0, "a masked token has a gradient"
    routed = {name.removesuffix(".indices") for name in load_file(folder / "routes.safetensors") if name.endswith(".indices")}
    assert routed == set(oracle.routers(module)) - set(case.unrouted), f"{case.name} routes {routed}"
    oracle.write_json(folder / "case.json", about)
    return result


# --- cases of functions -------------------------------------------------------------------------------------------------

def make_scores(case, generator):
    s = torch.randn(case.shape, generator=generator) * case.scale
    mask = make_mask(case.mask, case.shape[-1], generator) if case.mask else None
    return s, mask


def run_solver(case, s, mask, dscores, dtype):
    s = s.to(dtype).requires_grad_()
    k = torch.tensor(case.options["k"], dtype=dtype, requires_grad=True)
    scores = coor_descent(s, mask=mask, **{**case.options, "k": k})
    scores.backward(dscores.to(dtype))
    return scores.detach(), s.grad, k.grad


def make_solver_case(case, folder):
    generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()))
    s, mask = make_scores(case, generator)
    dscores = torch.randn(case.shape, generator=generator)
    exact, plain = (run_solver(case, s, mask, dscores, dtype) for dtype in (torch.float64, torch.float32))
    assert all(bool(t.isfinite().all()) for t in exact)
    if case.routing == "nonzero":
        assert float(exact[1].norm()) > 1e-2
    folder.mkdir(parents=True, exist_ok=True)
    oracle.write_json(folder / "case.json", {"about": case.about, "function": "coor_descent", "options": case.options})
    oracle.write_arrays(folder, s=s, mask=mask, scores=exact[0], dscores=dscores, ds=exact[1], dk=exact[2].reshape(1))
    names = ("scores", "ds", "dk")
    oracle.write_json(folder / "tolerance.json", {name: float(f"{oracle.error(p, e):.3g}") for name, p, e in zip(names, plain, exact)})


def run_topk(case, x, mask, dvalues, dtype, indices=None):
    options = {"n_iters": 20, "eps": 0.1, **case.options}
    k, ratio = options.pop("k"), options.pop("ratio", 9 / 8)
    x = x.to(dtype).requires_grad_()
    scores = coor_descent(x, mask=mask, k=min(k * ratio, x.shape[-1]), **options)
    if indices is None:
        indices = oracle.spec_order(x, mask)[..., :k]
    gates = scores + (1 - scores).detach()
    values = (x * gates).gather(-1, indices)
    values.backward(dvalues.to(dtype))
    taken = torch.ones_like(indices, dtype=dtype) if mask is None else mask.gather(-1, indices).to(dtype)
    return values.detach(), indices, scores.detach().gather(-1, indices), taken, x.grad


def make_topk_case(case, folder):
    generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()))
    x, mask = make_scores(case, generator)
    dvalues = torch.randn(*case.shape[:-1], case.options["k"], generator=generator)
    if mask is not None:
        order = oracle.spec_order(x, mask)[..., :case.options["k"]]
        dvalues = torch.where(mask.gather(-1, order), dvalues, 0)
    exact = run_topk(case, x, mask, dvalues, torch.float64)
    plain = run_topk(case, x, mask, dvalues, torch.float32, exact[1])
    if case.routing == "nonzero":
        pure = torch.zeros_like(exact[4]).scatter_add(-1, exact[1], dvalues.double())
        assert float((exact[4] - pure).norm()) > 1e-2
    folder.mkdir(parents=True, exist_ok=True)
    oracle.write_json(folder / "case.json", {"about": case.about, "function": "topk", "options": case.options})
    oracle.write_arrays(folder, x=x, mask=mask, values=exact[0], indices=exact[1].int(), coor_descent_values=exact[2], gates=exact[3],
                        dvalues=dvalues, dx=exact[4])
    names = {"values": 0, "coor_descent_values": 2, "dx": 4}
    oracle.write_json(folder / "tolerance.json", {n: float(f"{oracle.error(plain[i], exact[i]):.3g}") for n, i in names.items()})


# --- the whole folder ---------------------------------------------------------------------------------------------------

def versions():
    names = ("torch", "colt5-attention", "local-attention", "numpy", "safetensors", "einops")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names},
            "seed": "crc32 of the case's name, + 1 until the case does what it claims", "smallest_gap": GAP}


def make_all(output, words):
    table = [(case, make) for cases, make in ((CASES, make_case), (SOLVER_CASES, make_solver_case), (TOPK_CASES, make_topk_case))
             for case in cases]
    assert len({case.name for case, _ in table}) == len(table), "two cases of one name"
    for case, make in table:
        if words and not any(word in case.name for word in words):
            continue
        folder = output / case.name
        shutil.rmtree(folder, ignore_errors=True)
        make(case, folder)
        print(f"{case.name}: {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file())} bytes", flush=True)
    oracle.write_json(output / "versions.json", versions())


def compare(words):
    with tempfile.TemporaryDirectory() as other:
        make_all(pathlib.Path(other), words)
        made = [p.relative_to(other) for p in pathlib.Path(other).rglob("*") if p.is_file()]
        differ = [str(p) for p in made if not (HERE / p).is_file() or (HERE / p).read_bytes() != (pathlib.Path(other) / p).read_bytes()]
    print("\n".join(differ) if differ else f"{len(made)} files, all equal")
    return bool(differ)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="CASE")
    parser.add_argument("--output", type=pathlib.Path, default=HERE)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if a.list:
        for case in CASES + SOLVER_CASES + TOPK_CASES:
            print(f"| `{case.name}` | {case.about} |")
    elif a.check:
        sys.exit(compare(a.words))
    else:
        make_all(a.output, a.words)


if __name__ == "__main__":
    main()
