#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the golden cases of this folder: small modules run by PyTorch in float64, and what they must give.

    make_golden.py [--output DIR] [CASE ...]      all cases, or those whose name contains a word
    make_golden.py --list                         names and what each is for
    make_golden.py --check                        make them elsewhere and compare with what is here
    make_golden.py --second                       run the package's cases by the second implementation, and compare

README.md has the format. The modules are those of the package colt5-attention, run and mended by docs/from_pytorch.py. What the
package does not have (Sinkhorn, cumulative softmax, routing in several blocks, random and injected routes) is written here a
second time, straight from its definition, and differentiated by autograd.
"""
import os
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ATEN_CPU_CAPABILITY"] = "default"  # the same random numbers and float32 sums on every x86-64
os.environ["MKL_CBWR"] = "COMPATIBLE"

import argparse, dataclasses, importlib.metadata, json, math, pathlib, platform, shutil, sys, tempfile, zlib
import numpy, torch
from colt5_attention import ConditionalRoutedAutoregressiveAttention, ConditionalRoutedImageAttention, CoordinateDescentRouter
from colt5_attention.coor_descent import coor_descent
from colt5_attention.transformer_block import RouterReturn
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # this folder is distributed whole
sys.path.insert(0, str(HERE.parent.parent / "docs"))
import from_pytorch as oracle
from golden_cases import CASES, OURS, ROUTER_CASES, SOLVER_CASES, TOPK_CASES

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
    """[rows, slots, tokens] numbers inside (0, 1), multiples of 2^-24; `rows` are their numbers."""
    row, slot, token = numpy.asarray(rows)[:, None, None], numpy.arange(slots)[:, None], numpy.arange(tokens)
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


def solvable(s, valid):
    """Rows without a valid token are solved as if all were, and dropped afterwards by `some`."""
    some = valid.any(dim=-1, keepdim=True)
    return torch.where(some, s, 0), valid | ~some, some


def best_of_slots(p, valid):
    """The best token of each slot, and the least lead of one over the next."""
    best = p.detach().sort(dim=-1, descending=True, stable=True)
    second = torch.where(valid.unsqueeze(-2).expand_as(p).gather(-1, best.indices[..., 1:2]), best.values[..., 1:2], -torch.inf)
    return best.indices[..., 0], float((best.values[..., :1] - second).min())


class SpecRouter(CoordinateDescentRouter):
    """Any router, written from its definition. Rows are [B, R, blocks]; an ordinary router has one block."""

    def numbers(self, s):
        """Of the rows, for random numbers. Where samples are windows of a sequence, window 0 is counted though it is not routed."""
        rows, windows = numpy.arange(math.prod(s.shape[:-1])), getattr(self, "windows", None)
        if windows is None:
            return rows
        sample, route = numpy.divmod(rows, self.num_routing_tokens)
        return (sample // (windows - 1) * windows + sample % (windows - 1) + 1) * self.num_routing_tokens + route

    def choose(self, s, valid, k):
        """Scores of all tokens (None: no gradient), indices of the chosen ones, and their gap."""
        rows = self.numbers(s)
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
        p = sinkhorn(s, valid, k, lambda slots: uniform(self.seed, slots, self.numbers(s), s.shape[-1], stream=1), **self.options)
        indices, distance = best_of_slots(p, valid)
        if self.fixed is not None:
            indices = self.fixed.reshape(indices.shape)
        return p.gather(-1, indices.unsqueeze(-1)).squeeze(-1).exp(), indices, distance

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
        s, real, some = solvable(s, valid)
        if self.router_type == "sinkhorn" and not self.random_route:
            score, indices, self.gap = self.slots(s, real, k)
            indices = torch.where(some, indices, 0)
        else:
            score, indices, self.gap = self.choose(s, real, k)
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


class SpecAutoregressive(ConditionalRoutedAutoregressiveAttention):
    """With a mask, and with as few tokens as one wants."""
    takes_mask = True

    def forward(self, x, mask=None):
        light, width, (batch, n, dim) = self.light_attn(x, mask=mask), self.heavy_window_size, x.shape
        if n <= width:
            return light
        windows = math.ceil(n / width)
        after = torch.nn.functional.pad
        x = after(x, (0, 0, 0, windows * width - n))
        real = after(torch.ones(batch, n, dtype=torch.bool) if mask is None else mask, (0, windows * width - n))
        place = torch.arange(windows * width)
        cut = lambda t: t.unflatten(1, (windows, width))[:, 1:].flatten(0, 1)
        earlier = place < torch.arange(1, windows).unsqueeze(-1) * width
        keys = (real.unsqueeze(1) & earlier).flatten(0, 1)
        self.q_router.windows = self.kv_router.windows = windows
        iq, sq, tokens_q, _ = self.q_router(cut(x), num_tokens=self.num_heavy_tokens_q, mask=cut(real))
        ikv, skv, tokens_kv, routed_keys = self.kv_router(x.repeat_interleave(windows - 1, dim=0), mask=keys,
                                                           num_tokens=self.num_heavy_tokens_kv)
        angles = None
        if self.rotary_emb is not None:
            table, own = self.rotary_emb(windows * width), cut(place.expand(batch, -1))
            angles = (table[own if iq is None else own.gather(1, iq)].unsqueeze(1), table if ikv is None else table[ikv].unsqueeze(-3))
        heavy = self.heavy_attn(tokens_q, context=tokens_kv, mask=routed_keys, normalized_scores_kv=skv, rotary_emb=angles,
                                normalized_scores_q=sq if self.multiply_queries_by_score else None)
        if iq is not None:
            fill = torch.zeros(dim) if self.null_q_token is None else self.null_q_token
            base = fill.expand(batch * (windows - 1), width, dim)
            heavy = base.scatter(1, iq.unsqueeze(-1).expand(-1, -1, dim), heavy * sq.unsqueeze(-1))
        return light + after(heavy.unflatten(0, (batch, windows - 1)).flatten(1, 2)[:, : n - width], (0, 0, width, 0))


class SpecImageAttention(ConditionalRoutedImageAttention):
    """With a mask, pictures of any size, and routing over the whole picture (scope "image")."""
    takes_mask = True

    def light(self, x, real):
        m, out = self.light_attn, torch.zeros_like(x)
        for i in range(0, x.shape[1], self.light_window_size):
            for j in range(0, x.shape[2], self.light_window_size):
                window = lambda t: t[:, i:i + self.light_window_size, j:j + self.light_window_size]
                heads = lambda t: t.unflatten(-1, (m.heads, -1)).transpose(1, 2)
                q, k, v = (heads(t) for t in m.to_qkv(m.norm(window(x).flatten(1, 2))).chunk(3, dim=-1))
                y = m.attend(q, k, v, mask=window(real).flatten(1)).transpose(1, 2).flatten(2)
                window(out)[:] = m.to_out(y).reshape(window(x).shape)
        return out

    def heavy(self, x, real):
        iq, sq, tokens_q, _ = self.q_router(x, num_tokens=self.num_heavy_tokens_q, mask=real)
        ikv, skv, tokens_kv, keys = self.kv_router(x, num_tokens=self.num_heavy_tokens_kv, mask=real)
        y = self.heavy_attn(tokens_q, context=tokens_kv, mask=keys, normalized_scores_kv=skv,
                            normalized_scores_q=sq if self.multiply_queries_by_score else None)
        if iq is None:
            return y
        base = torch.zeros_like(x) if self.null_q_token is None else self.null_q_token.expand_as(x)
        return base.scatter(1, iq.unsqueeze(-1).expand(-1, -1, x.shape[-1]), y * sq.unsqueeze(-1))

    def forward(self, x, mask=None):
        if self.channel_first:
            x = x.movedim(1, -1)
        real = torch.ones(x.shape[:3], dtype=torch.bool) if mask is None else mask
        if self.route_scope == "image":
            heavy = self.heavy(x.flatten(1, 2), real.flatten(1)).reshape(x.shape)
        else:
            w, (high, wide) = self.light_window_size, x.shape[1:3]
            cut = lambda t: t.unflatten(1, (high // w, w)).unflatten(3, (wide // w, w)).transpose(2, 3).flatten(3, 4).flatten(0, 2)
            y = self.heavy(cut(x), cut(real)).reshape(-1, high // w, wide // w, w, w, x.shape[-1])
            heavy = y.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        y = self.light(x, real) + heavy
        return y.movedim(-1, 1) if self.channel_first else y


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
    pictures, scope = config["type"] in ("image_attention", "vit"), config.get("route_scope", "image")
    if pictures:
        config["route_scope"] = "window"
    module = oracle.build(config)
    if case.oracle == OURS:
        for m in module.modules():
            if isinstance(m, ConditionalRoutedImageAttention):
                m.__class__, m.route_scope = SpecImageAttention, scope
            if isinstance(m, ConditionalRoutedAutoregressiveAttention):
                m.__class__ = SpecAutoregressive
    elif pictures and scope != "window":
        raise SystemExit(f"{case.name}: the package has no such scope")
    if case.oracle != OURS and not case.injected:
        check_description(module, config)
        return module
    for i, (name, router) in enumerate(in_order(oracle.routers(module))):
        if case.injected:
            rows = case.batch, router.num_routing_tokens
            tokens = config["num_heavy_tokens" + {"kv_router": "_kv", "q_router": "_q", "router": ""}[name]]
            indices = torch.rand(*rows, case.tokens, generator=generator).argsort(dim=-1)[..., :tokens]
            router.__class__, router.injected = InjectedRouter, (indices, torch.rand(*rows, tokens, generator=generator))
        else:
            router.__class__ = SpecRouter
            router.router_type, router.options, router.random_route = kind, kwargs if ours else {}, random_route
            router.seed = case.seed + i
    return module


def check_description(module, config):
    """from_pytorch must find by itself what the config says."""
    found = oracle.describe(module)
    for key, value in config.items():
        if key in ("num_heavy_tokens", "num_heavy_attn_tokens") and key not in found:
            assert found[key + "_q"] == found[key + "_kv"] == value, key
        elif key == "router_kwargs":
            assert all(found[key][name] == option for name, option in value.items()), value
        elif key == "light_window_size":
            assert found[key] in (value, value - 1), key  # an odd one means the even one below
        elif key not in ("default_coor_descent_eps", "image_size", "patch_size", "channels", "route_scope"):
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
    if c["type"] in ("text_encoder", "masked_language_model", "language_model"):
        x = torch.randint(min(256, c.get("vocab_size", 258)), (case.batch, case.tokens), generator=generator)
        for b, padding in enumerate(case.padding):
            x[b, case.tokens - padding:] = oracle.PADDING
        return dict(x=x if case.wide_ids else x.int(), mask=mask)
    shape = case.shape or (case.batch, case.tokens, dim)
    x = torch.randn(shape, generator=generator)
    if c["type"] == "image_attention" and mask is not None:
        mask = mask.reshape(shape[:3])
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
    if inputs.get("mask") is not None and "dx" in result.gradients:
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
    k = torch.full(s.shape[:-1], case.options["k"], dtype=dtype, requires_grad=True)
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
    oracle.write_arrays(folder, s=s, mask=mask, scores=exact[0], dscores=dscores, ds=exact[1], dk=exact[2])
    names = ("scores", "ds", "dk")
    oracle.write_json(folder / "tolerance.json", {name: float(f"{oracle.error(p, e):.3g}") for name, p, e in zip(names, plain, exact)})


def run_router(case, s, mask, dscores, dtype, indices=None):
    """Sinkhorn or cumulative softmax of s [B,R,N] under mask [B,N]: scores, indices (None: of all tokens), ds, gap."""
    options, s = dict(case.options), s.to(dtype).requires_grad_()
    valid = torch.ones(s.shape, dtype=torch.bool) if mask is None else mask.unsqueeze(1).expand_as(s)
    real_s, real, some = solvable(s, valid)
    if case.name.startswith("cum_softmax"):
        scores, distance = cumulative_softmax(real_s, real, **options), torch.inf
    else:
        k, rows = options.pop("k"), numpy.arange(math.prod(s.shape[:-1]))
        p = sinkhorn(real_s, real, k, lambda slots: uniform(case.seed, slots, rows, s.shape[-1], stream=1), **options)
        best, distance = best_of_slots(p, real)
        indices = torch.where(some, best, 0) if indices is None else indices
        scores = p.gather(-1, indices.unsqueeze(-1)).squeeze(-1).exp()
    scores = torch.where(some if indices is not None else valid, scores, 0)
    scores.backward(dscores.to(dtype))
    return scores.detach(), indices, s.grad, distance


def make_router_case(case, folder):
    for attempt in range(50):
        generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()) + attempt)
        s, mask = torch.randn(case.shape, generator=generator) * case.scale, None
        if case.mask:
            mask = make_mask(case.mask, case.shape[-1], generator)
        dscores = torch.randn(*case.shape[:-1], case.options.get("k", case.shape[-1]), generator=generator)
        exact = run_router(case, s, mask, dscores, torch.float64)
        if exact[3] >= GAP:
            break
    else:
        raise SystemExit(f"{case.name}: gap {exact[3]}")
    plain = run_router(case, s, mask, dscores, torch.float32, exact[1])
    assert bool(exact[2].isfinite().all()) and float(exact[2].norm()) > 1e-3, exact[2].norm()
    folder.mkdir(parents=True, exist_ok=True)
    function = "cum_softmax" if case.name.startswith("cum_softmax") else "sinkhorn"
    about = {"about": case.about, "function": function, "seed": case.seed, "options": case.options}
    oracle.write_json(folder / "case.json", about)
    oracle.write_arrays(folder, s=s, mask=mask, scores=exact[0], indices=None if exact[1] is None else exact[1].int(), dscores=dscores,
                        ds=exact[2])
    names = {"scores": 0, "ds": 2}
    oracle.write_json(folder / "tolerance.json", {n: float(f"{oracle.error(plain[i], exact[i]):.3g}") for n, i in names.items()})


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
    table = [(case, make) for cases, make in ((CASES, make_case), (SOLVER_CASES, make_solver_case), (ROUTER_CASES, make_router_case),
                                              (TOPK_CASES, make_topk_case)) for case in cases]
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


def second_opinion(words):
    """The routers and modules written here must give what the package gives, gradients too, where it has them."""
    worst = 0.0
    for case in CASES:
        if case.oracle == OURS or case.injected or (words and not any(word in case.name for word in words)):
            continue
        folder = HERE / case.name
        array = lambda name: torch.from_numpy(numpy.load(folder / f"{name}.npy")) if (folder / f"{name}.npy").exists() else None
        module = make_module(dataclasses.replace(case, oracle=OURS), torch.Generator())
        module.load_state_dict(load_file(folder / "model.safetensors"))
        inputs = oracle.Inputs(*(array(name) for name in ("x", "mask", "context", "context_mask")))
        run = oracle.run(module, inputs, torch.float64, array("dy").double())
        wanted = load_file(folder / "gradients" / "gradients.safetensors")
        wanted |= {name: array(f"gradients/{name}") for name in ("dx", "dcontext")}
        errors = {"y": oracle.error(run.y, array("y"))}
        errors |= {name: oracle.error(have, wanted[name]) for name, have in run.gradients.items()}
        name = max(errors, key=errors.get)
        worst = max(worst, errors[name])
        if errors[name] > 1e-7:  # files hold float32
            print(f"{case.name}: {name} is off by {errors[name]:.1e}")
    print(f"largest difference {worst:.1e}")
    return worst > 1e-7


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="CASE")
    parser.add_argument("--output", type=pathlib.Path, default=HERE)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--second", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if a.list:
        for case in CASES + SOLVER_CASES + ROUTER_CASES + TOPK_CASES:
            print(f"| `{case.name}` | {case.about} |")
    elif a.check:
        sys.exit(compare(a.words))
    elif a.second:
        sys.exit(second_opinion(a.words))
    else:
        make_all(a.output, a.words)


if __name__ == "__main__":
    main()
