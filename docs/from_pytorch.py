#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Save a PyTorch module of the package colt5-attention as a folder that `colt5 run` reads and compares itself with.

    import from_pytorch
    from_pytorch.save(module, "saved", x, mask=mask)

or, to see it work on a small module, `python3 from_pytorch.py saved` (--help lists the types). The folder then holds

    config.json model.safetensors       the model: constructor arguments and weights
    x.npy mask.npy context.npy ...      what went in
    y.npy dy.npy routes.safetensors     what came out, the gradient sent back, the tokens each router chose
    gradients/                          gradients.safetensors, dx.npy, dcontext.npy, tolerance.json

Outputs and gradients are computed in float64, so they are a reference, not a second opinion with its own rounding;
tolerance.json says how far PyTorch's own float32 is from them, tensor by tensor, on the same routes (the largest of a few runs).

Two ways to choose the routes:

    order="spec"      among equal scores the larger raw score wins, then the smaller index, as libcolt5 does it
    order="package"   the module is run as it is, in its own type on its own device, and its choice is kept

Either way four faults of the package are mended in the float64 run (mend=False leaves 2 to 4 in):

    1. its topk picks arbitrarily among scores that are exactly 1 (the choice is made for it, see above)
    2. with several routes, samples after the first gather tokens of other samples
    3. rotary frequencies are rounded to float32
    4. without a mask, local attention lets the last tokens attend to its own padding

and cross attention, which raises a NameError in 0.11.2, is made to run.
Needs: torch, colt5-attention 0.11.2, local-attention 1.11.2, safetensors, numpy.
"""
import argparse, contextlib, copy, json, pathlib
import numpy, torch
from colt5_attention import (ConditionalRoutedAttention, ConditionalRoutedAutoregressiveAttention, ConditionalRoutedCrossAttention,
                             ConditionalRoutedFeedForward, ConditionalRoutedImageAttention, ConditionalRoutedTransformerBlock,
                             ConditionalRoutedViT, CoordinateDescentRouter, transformer_block as package)
from colt5_attention.attend import Attend
from colt5_attention.coor_descent import coor_descent
from local_attention import LocalMHA
from safetensors.torch import load_file, save as serialised
from torch import nn

PADDING = 256  # the token that is padding, hence masked, in a text


# --- what the package lacks: the containers of libcolt5 -----------------------------------------------------------------

def frequencies(width):
    return 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


class LightRotary(nn.Module):
    """`light_rotary_emb`: rotary at each token's position, in front of a local attention.

    (LocalMHA has a rotary option, but it places the queries of a window one window after where they are.)"""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, q, k, v, **options):
        angle = torch.outer(torch.arange(q.shape[-2], dtype=torch.float64), frequencies(q.shape[-1])).repeat(1, 2)
        cos, sin = angle.cos().to(q), angle.sin().to(q)
        turn = lambda t: t * cos + package.rotate_half(t) * sin
        return self.inner(turn(q), turn(k), v, **options)


def local_attention(dim, light_dim_head=64, light_heads=8, light_window_size=128, causal=False, light_rotary_emb=False):
    """The light branch, with the options the package gives it."""
    shape = dict(window_size=light_window_size, exact_windowsize=False) if causal else dict(
        window_size=light_window_size // 2, look_backward=1, look_forward=1)
    light = LocalMHA(dim=dim, dim_head=light_dim_head, heads=light_heads, prenorm=True, causal=causal,
                     use_rotary_pos_emb=False, **shape)
    if light_rotary_emb:
        light.attn_fn = LightRotary(light.attn_fn)
    return light


class Encoder(nn.Module):
    """A stack of transformer blocks."""

    def __init__(self, blocks):
        super().__init__()
        self.layers = nn.ModuleList(blocks)

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = layer(x, mask=mask)
        return x


class TextEncoder(nn.Module):
    """Bytes -> embedding -> one local attention -> blocks -> norm. With `masked_language_model`, logits of every byte."""

    def __init__(self, dim, vocab_size, embed_attn, blocks, masked_language_model=False):
        super().__init__()
        self.token_emb = nn.Embedding(vocab_size, dim)
        self.embed_attn = embed_attn
        self.layers = nn.ModuleList(blocks)
        self.norm = package.RMSNorm(dim)
        if masked_language_model:
            self.to_logits = nn.Module()
            self.to_logits.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, ids, mask=None):
        real = ids != PADDING if mask is None else mask & (ids != PADDING)
        x = self.token_emb(ids)
        x = x + self.embed_attn(x, mask=real)
        for layer in self.layers:
            x = layer(x, mask=real)
        x = self.norm(x)
        if hasattr(self, "to_logits"):
            x = x @ self.token_emb.weight.t() / x.shape[-1] ** 0.5 + self.to_logits.bias
        return x


class LanguageModel(nn.Module):
    """Bytes -> embedding -> causal local attention -> (autoregressive attention, dense feedforward) -> norm -> logits."""

    def __init__(self, dim, vocab_size, embed_attn, layers):
        super().__init__()
        self.token_emb = nn.Embedding(vocab_size, dim)
        self.embed_attn = embed_attn
        self.layers = nn.ModuleList(nn.ModuleList(layer) for layer in layers)
        self.norm = package.RMSNorm(dim)
        self.to_logits = nn.Module()
        self.to_logits.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, ids, mask=None):
        if mask is not None and not bool(mask.all()):
            raise ValueError("the package has no mask in autoregressive attention")
        x = self.token_emb(ids)
        x = x + self.embed_attn(x)
        for attention, feed_forward in self.layers:
            x = x + attention(x)
            x = x + feed_forward(x)
        return self.norm(x) @ self.token_emb.weight.t() / x.shape[-1] ** 0.5 + self.to_logits.bias


# --- from a config to a module ------------------------------------------------------------------------------------------

def both(config, name, pattern):
    """The short name `num_heavy_tokens` of two counts."""
    if name in config:
        count = config.pop(name)
        config.update({pattern % "q": count, pattern % "kv": count})


def make_attention(config):
    both(config, "num_heavy_tokens", "num_heavy_tokens_%s")
    light_rotary = config.pop("light_rotary_emb", False)
    module = ConditionalRoutedAttention(**config)
    if light_rotary:
        module.light_attn.attn_fn = LightRotary(module.light_attn.attn_fn)
    return module


def make_block(config):
    """The package's block passes neither `has_light_attn` nor the rotaries on to its attention."""
    both(config, "num_heavy_attn_tokens", "num_heavy_attn_tokens_%s")
    rotary, light_rotary, light = (config.pop(key, value) for key, value in
                                   (("rotary_emb", False), ("light_rotary_emb", False), ("has_light_attn", True)))
    module = ConditionalRoutedTransformerBlock(**config)
    attention = module.conditional_attn
    if rotary:
        attention.rotary_emb = package.RotaryEmbedding(attention.heavy_attn.null_kv.shape[-1])
    if not light:
        attention.light_attn = None
    elif light_rotary:
        attention.light_attn.attn_fn = LightRotary(attention.light_attn.attn_fn)
    return module


def make_encoder(config):
    return Encoder([make_block(dict(config)) for _ in range(config.pop("depth"))])


LIGHT = ("light_dim_head", "light_heads", "light_window_size", "light_rotary_emb")


def make_text_encoder(config, masked_language_model=False):
    config = {"rotary_emb": True, "light_rotary_emb": True, **config}
    vocab_size, depth, dim = config.pop("vocab_size", 258), config.pop("depth"), config["dim"]
    embed = local_attention(dim, **{key: config[key] for key in LIGHT if key in config})
    return TextEncoder(dim, vocab_size, embed, [make_block(dict(config)) for _ in range(depth)], masked_language_model)


def make_autoregressive(config):
    light_rotary = config.pop("light_rotary_emb", False)
    module = ConditionalRoutedAutoregressiveAttention(**config)
    if light_rotary:
        module.light_attn.attn_fn = LightRotary(module.light_attn.attn_fn)
    return module


def make_language_model(config):
    config = {"rotary_emb": True, "light_rotary_emb": True, **config}
    vocab_size, depth, mult, dim = config.pop("vocab_size", 258), config.pop("depth"), config.pop("ff_mult", 4), config["dim"]
    embed = local_attention(dim, causal=True, **{key: config[key] for key in LIGHT if key in config})
    layers = [(make_autoregressive(dict(config)), package.FeedForward(dim, mult)) for _ in range(depth)]
    return LanguageModel(dim, vocab_size, embed, layers)


def make_vit(config):
    sizes = {key: tuple(size) if isinstance(size, list) else size for key, size in config.items() if key in ("image_size", "patch_size")}
    return ConditionalRoutedViT(**{"flash_attn": False, **config, **sizes})


def in_windows(make):
    def checked(config):
        if config.pop("route_scope", "image") != "window":
            raise ValueError('the package routes inside windows only: "route_scope": "window"')
        return make(config)
    return checked


MAKERS = {
    "feed_forward": lambda config: ConditionalRoutedFeedForward(**config),
    "attention": make_attention,
    "transformer_block": make_block,
    "encoder": make_encoder,
    "text_encoder": make_text_encoder,
    "masked_language_model": lambda config: make_text_encoder(config, True),
    "cross_attention": lambda config: ConditionalRoutedCrossAttention(**config),
    "autoregressive_attention": make_autoregressive,
    "language_model": make_language_model,
    "image_attention": in_windows(lambda config: ConditionalRoutedImageAttention(**config)),
    "vit": in_windows(make_vit),
}


def build(config):
    """A module, with the package's initial weights, from what a config.json says."""
    config = dict(config)
    for key, only in (("router_type", "coor_descent"), ("random_route", False)):
        if config.pop(key, only) != only:
            raise ValueError(f"the package has no other {key} than {json.dumps(only)}")
    return MAKERS[config.pop("type")](config)


def read_weights(module, path):
    """Weights as `colt5 train`, `colt5 init` or PyTorch wrote them, into a module; returns it."""
    weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    ours = {name: t for name, t in module.state_dict().items() if name.endswith("inv_freq")}  # libcolt5 writes none
    module.load_state_dict({**ours, **weights})
    return module


def load(folder):
    """A module from a model folder: the way back."""
    folder = pathlib.Path(folder)
    return read_weights(build(json.loads((folder / "config.json").read_text())), folder / "model.safetensors")


# --- from a module to a config ------------------------------------------------------------------------------------------

ROUTER = ("n_iters", "fetch_k_ratio", "eps", "eps_decay", "eps_init", "cosine_sim_routing", "cosine_sim_scale", "route_block_size")


def routers(module):
    return {name: m for name, m in module.named_modules() if isinstance(m, CoordinateDescentRouter)}


def router_options(module, without=()):
    """What all routers of a module have in common; libcolt5 has one set of options for a module."""
    found = []
    for router in routers(module).values():
        options = {key: getattr(router, key) for key in ROUTER if key not in without and getattr(router, key) is not None}
        found.append({"router_straight_through": router.straight_through, "router_kwargs": options})
    if any(options != found[0] for options in found):
        raise ValueError("the routers of this module differ in their options")
    return found[0]


def multiple(hidden, dim):
    """mult of a feedforward, such that int(dim * mult) is its hidden width."""
    return hidden / dim if int(dim * (hidden / dim)) == hidden else (hidden + 0.5) / dim


def describe_feed_forward(m):
    dim = m.light_ff[0].gamma.shape[0]
    return {"dim": dim, "num_heavy_tokens": m.num_heavy_tokens, "light_ff_mult": multiple(m.light_ff[1].out_features, dim),
            "heavy_ff_mult": multiple(m.heavy_ff[1].out_features, dim), **router_options(m)}


def describe_light(light, causal=False):
    if isinstance(light, package.SelfAttention):
        return {"light_dim_head": light.to_out.in_features // light.heads, "light_heads": light.heads}
    rotary = isinstance(light.attn_fn, LightRotary)
    core = light.attn_fn.inner if rotary else light.attn_fn
    if core.rel_pos is not None or light.qk_rmsnorm or light.to_v_gate is not None or core.causal != causal:
        raise ValueError("a LocalMHA with options that the package never sets")
    return {"light_dim_head": light.to_out.in_features // light.heads, "light_heads": light.heads,
            "light_window_size": core.window_size * (1 if causal else 2), "light_rotary_emb": rotary}


def describe_heavy(m, prefix="heavy_"):
    heavy = m.heavy_attn
    return {"dim": heavy.norm.gamma.shape[0], prefix + "dim_head": heavy.null_kv.shape[-1], prefix + "heads": heavy.heads,
            "multiply_keys_by_score": heavy.multiply_keys_by_score, "use_null_q_tokens": m.null_q_token is not None}


def describe_routed(m):
    return {**describe_heavy(m), "num_heavy_tokens_q": m.num_heavy_tokens_q, "num_heavy_tokens_kv": m.num_heavy_tokens_kv,
            "num_routed_kv": m.kv_router.num_routing_tokens, "multiply_queries_by_score": m.multiply_queries_by_score,
            **router_options(m)}


def describe_attention(m):
    light = {} if m.light_attn is None else describe_light(m.light_attn)
    return {**describe_routed(m), "has_light_attn": m.light_attn is not None, **light, "rotary_emb": m.rotary_emb is not None}


def describe_autoregressive(m):
    light = describe_light(m.light_attn, causal=True)
    return {**describe_routed(m), **light, "heavy_window_size": m.heavy_window_size, "rotary_emb": m.rotary_emb is not None}


def describe_cross(m):
    return {**describe_heavy(m, ""), "num_tokens_q": m.num_tokens_q, "num_tokens_kv": m.num_tokens_kv,
            "kv_routing_tokens": m.kv_router.num_routing_tokens, "route_block_size": m.kv_router.route_block_size,
            **router_options(m, without=("route_block_size",))}


def describe_block(m):
    attention, ff = describe_attention(m.conditional_attn), describe_feed_forward(m.conditional_ff)
    for side in ("q", "kv"):
        attention[f"num_heavy_attn_tokens_{side}"] = attention.pop(f"num_heavy_tokens_{side}")
    ff["num_heavy_ff_tokens"] = ff.pop("num_heavy_tokens")
    return {**ff, **attention, **router_options(m)}


def describe_layers(layers):
    found = [describe_block(layer) for layer in layers]
    if any(config != found[0] for config in found):
        raise ValueError("the layers of this module differ in their arguments")
    return {**found[0], "depth": len(layers)}


def describe_text_encoder(m):
    config = {**describe_layers(m.layers), "vocab_size": m.token_emb.num_embeddings}
    if any(config.get(key, value) != value for key, value in describe_light(m.embed_attn).items()):
        raise ValueError("embed_attn differs from the light attention of the layers")
    return config


def describe_language_model(m):
    mult = lambda ff: multiple(ff[1].out_features, ff[1].in_features)
    found = [{**describe_autoregressive(attention), "ff_mult": mult(ff)} for attention, ff in m.layers]
    if any(config != found[0] for config in found):
        raise ValueError("the layers of this module differ in their arguments")
    return {**found[0], "depth": len(m.layers), "vocab_size": m.token_emb.num_embeddings}


def describe_image_attention(m):
    return {**describe_routed(m), **describe_light(m.light_attn), "light_window_size": m.light_window_size,
            "channel_first": m.channel_first, "route_scope": "window"}


def describe_vit(m):
    """The picture's size and its patches are in no attribute: the caller names them (`arguments` of `save`)."""
    attention, ff = m.transformer.layers[0]
    image = describe_image_attention(attention)
    names = ("num_heavy_tokens_q", "num_heavy_tokens_kv", "num_routed_kv", "light_dim_head", "light_heads", "light_window_size",
             "heavy_dim_head", "heavy_heads")
    ff = describe_feed_forward(ff)
    return {"dim": image["dim"], "depth": len(m.transformer.layers), "num_classes": m.linear_head[2].out_features,
            **{"attn_" + name: image[name] for name in names}, "ff_num_heavy_tokens": ff["num_heavy_tokens"],
            "ff_light_mult": ff["light_ff_mult"], "ff_heavy_mult": ff["heavy_ff_mult"], "route_scope": "window", **router_options(m)}


DESCRIBERS = (
    (ConditionalRoutedFeedForward, "feed_forward", describe_feed_forward),
    (ConditionalRoutedAttention, "attention", describe_attention),
    (ConditionalRoutedTransformerBlock, "transformer_block", describe_block),
    (Encoder, "encoder", lambda m: describe_layers(m.layers)),
    (TextEncoder, "text_encoder", describe_text_encoder),
    (LanguageModel, "language_model", describe_language_model),
    (ConditionalRoutedCrossAttention, "cross_attention", describe_cross),
    (ConditionalRoutedAutoregressiveAttention, "autoregressive_attention", describe_autoregressive),
    (ConditionalRoutedImageAttention, "image_attention", describe_image_attention),
    (ConditionalRoutedViT, "vit", describe_vit),
)


def describe(module):
    """config.json of a live module."""
    for kind, name, describer in DESCRIBERS:
        if isinstance(module, kind):
            if isinstance(module, TextEncoder) and hasattr(module, "to_logits"):
                name = "masked_language_model"
            return {"type": name, **{key: value for key, value in describer(module).items() if value is not None}}
    raise TypeError(f"no libcolt5 type for {type(module).__name__}")


# --- running the oracle -------------------------------------------------------------------------------------------------

class Chosen(torch.Tensor):
    """Scores whose topk is told which tokens to take; the scores themselves stay as they are."""

    def topk(self, k, dim=-1):
        scores, index = self.as_subclass(torch.Tensor), self.pick(k)
        return scores.gather(-1, index), index


def spec_order(s, mask=None):
    """Token indices, best first: real before masked, then larger s, then smaller index; a NaN after every number."""
    s = torch.where(s.isnan(), -torch.inf, s.detach())
    order = s.argsort(dim=-1, descending=True, stable=True)
    if mask is not None:
        order = order.gather(-1, mask.gather(-1, order).byte().argsort(dim=-1, descending=True, stable=True))
    return order


def gap(s, mask, order, k):
    """How far the worst chosen token is ahead of the best one left: what rounding must not bridge. Equal scores do not count."""
    if k >= s.shape[-1]:
        return torch.inf
    ranked = s.detach().gather(-1, order)
    step = ranked[..., k - 1] - ranked[..., k]
    if mask is not None:
        step = torch.where(mask.gather(-1, order)[..., k], step, torch.inf)
    return float(torch.where(step == 0, torch.inf, step).min())


def shaken(s, noise):
    """Raw scores off by some float32 roundings of the row's largest; `noise` is (generator, how many) or None."""
    if noise is None:
        return s
    error = torch.rand(s.shape, generator=noise[0], dtype=s.dtype) * 2 - 1
    return s + error * noise[1] * 2.0 ** -23 * s.detach().abs().amax(dim=-1, keepdim=True)


def pin(router, fixed, noise=None):
    """Let a router solve as ever, and choose by `fixed` indices [B,R,K], or by spec_order when there are none."""
    def descent(s, *, mask=None, **options):
        s = shaken(s, noise)

        def pick(k):
            if fixed is not None:
                return fixed.reshape(-1, k)
            order = spec_order(s, mask)
            router.gap = gap(s, mask, order, k)
            return order[..., :k].sort(dim=-1).values
        scores = coor_descent(s, mask=mask, **options).as_subclass(Chosen)
        scores.pick = pick
        return scores
    router.coor_descent, router.fixed, router.noise = descent, fixed, noise


def gather_routed(x, indices):
    """The package's batched_gather with fault 2 mended: under indices [B,R,K], x holds B*R rows of tokens."""
    if indices.ndim == 3 and x.shape[0] == indices.shape[0] * indices.shape[1]:
        x = x.unflatten(0, indices.shape[:2])
    rows = torch.meshgrid(*(torch.arange(size) for size in indices.shape[:-1]), indexing="ij")
    return x[(*(row.unsqueeze(-1) for row in rows), indices)]


@contextlib.contextmanager
def patched(module, x, mend):
    """What must change in the package itself while a module runs: fault 2, and cross attention's NameError."""
    gather, dtype = package.batched_gather, torch.get_default_dtype()
    if isinstance(module, ConditionalRoutedCrossAttention):
        package.should_route_queries = x.shape[1] > module.num_tokens_q  # the name it forgot to define
    if mend:
        package.batched_gather = gather_routed
        torch.set_default_dtype(next(module.parameters()).dtype)  # it makes its constants in this type
    try:
        yield
    finally:
        package.batched_gather = gather
        torch.set_default_dtype(dtype)
        vars(package).pop("should_route_queries", None)


class Inputs:
    def __init__(self, x, mask=None, context=None, context_mask=None):
        self.x, self.context = x, context
        self.mask, self.context_mask = (None if m is None else m.bool() for m in (mask, context_mask))

    def to(self, device, dtype):
        move = lambda t: None if t is None else t.detach().to(device, dtype if t.is_floating_point() else None, copy=True)
        return Inputs(*(move(t) for t in (self.x, self.mask, self.context, self.context_mask)))

    def valid(self):
        """The rows of the output that are specified, or None for all of them."""
        if self.x.is_floating_point():
            return self.mask
        return self.x != PADDING if self.mask is None else self.mask & (self.x != PADDING)


MASKLESS = ConditionalRoutedAutoregressiveAttention, ConditionalRoutedImageAttention, ConditionalRoutedViT


def call(module, inputs, mend):
    if isinstance(module, ConditionalRoutedCrossAttention):
        return module(inputs.x, inputs.context, mask=inputs.mask, context_mask=inputs.context_mask)
    if isinstance(module, MASKLESS):
        if inputs.mask is None:
            return module(inputs.x)
        if not hasattr(module, "takes_mask"):
            raise ValueError(f"the package has no mask in {type(module).__name__}")
        return module(inputs.x, mask=inputs.mask)
    mask = inputs.mask
    if mend and mask is None:
        mask = torch.ones(inputs.x.shape[:2], dtype=torch.bool)  # fault 4
    return module(inputs.x, mask=mask)


class Result:
    """Of one run: y, routes {router: (indices [B,R,K], scores [B,R,K])}, gradients {name: tensor}, gap (see `gap`)."""


@contextlib.contextmanager
def recorded(module):
    routes, hooks = {}, []

    def keep(name):
        def hook(router, args, output):
            if output.indices is not None:
                one = lambda t: (t.unsqueeze(1) if t.ndim == 2 else t).detach().as_subclass(torch.Tensor).cpu()
                routes[name] = one(output.indices), one(output.scores)
        return hook

    for name, router in routers(module).items():
        hooks.append(router.register_forward_hook(keep(name)))
    try:
        yield routes
    finally:
        for hook in hooks:
            hook.remove()


def run_as_it_is(module, inputs):
    """The module untouched, in its own type on its own device."""
    weight = next(module.parameters())
    inputs, result = inputs.to(weight.device, weight.dtype), Result()
    with torch.no_grad(), patched(module, inputs.x, False), recorded(module) as result.routes:
        result.y = call(module, inputs, False).cpu().double()
    return result


def prepare(module, fixed=None, mend=True, noise=None):
    """A module of its own made comparable, in place: routes by SPEC's order or `fixed` {router: indices}, fault 3 mended, no flash.

    Call it inside `patched`, for fault 2, and with a mask, for fault 4."""
    for m in module.modules():
        if isinstance(m, Attend):
            m.use_flash = False
        if isinstance(m, package.RotaryEmbedding) and mend:
            m.inv_freq = frequencies(2 * m.inv_freq.numel()).to(next(module.parameters()).dtype)  # fault 3
    for name, router in routers(module).items():
        pin(router, None if fixed is None else fixed.get(name), noise)
    return module


def run(module, inputs, dtype, dy=None, fixed=None, mend=True, noise=None):
    """A copy of the module in `dtype` on the CPU, by SPEC's order or by `fixed` {router: indices}; `dy` may be made from y."""
    module = prepare(copy.deepcopy(module).to("cpu", dtype).requires_grad_(True), fixed, mend, noise)
    inputs, result = inputs.to("cpu", dtype), Result()
    leaves = {"dx": inputs.x, "dcontext": inputs.context}
    leaves = {name: t.requires_grad_() for name, t in leaves.items() if t is not None and t.is_floating_point()}
    with patched(module, inputs.x, mend), recorded(module) as result.routes:
        result.y = call(module, inputs, mend)
        if dy is not None:
            result.y.backward(dy(result.y) if callable(dy) else dy.to(dtype))
    leaves.update(module.named_parameters())
    result.gradients = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in leaves.items()}
    result.y = only_valid(result.y.detach(), inputs.valid())
    result.gap = min((getattr(router, "gap", torch.inf) for router in routers(module).values()), default=torch.inf)
    return result


def only_valid(y, valid):
    return y if valid is None else torch.where(valid.reshape(valid.shape + (1,) * (y.ndim - valid.ndim)), y, 0)


def error(have, want):
    norm = float(want.double().norm())
    return float((have.double() - want.double()).norm()) / norm if norm else 0.0


def float32_errors(module, inputs, dy, exact, mend, seed, rounds=8):
    """PyTorch's float32 error of each tensor on the routes of `exact`: the largest of a plain run and some with shaken scores.

    A solver near saturation makes 1e-7 in a score anything from nothing to 1e-2 in a gradient, by luck: one run tells little."""
    fixed = {name: indices for name, (indices, _) in exact.routes.items()}
    errors = {}
    for noise in (None, *((torch.Generator().manual_seed(seed + i), 2) for i in range(rounds))):
        rough = run(module, inputs, torch.float32, dy, fixed, mend, noise)
        for name, have, want in (("y", rough.y, exact.y), *((n, rough.gradients[n], g) for n, g in exact.gradients.items())):
            errors[name] = max(errors.get(name, 0.0), error(have, want))
    return errors


# --- saving -------------------------------------------------------------------------------------------------------------

def write_arrays(folder, **arrays):
    for name, t in arrays.items():
        if t is not None:
            t = t.float() if t.is_floating_point() else t.byte() if t.dtype == torch.bool else t
            numpy.save(folder / f"{name}.npy", t.detach().contiguous().cpu().numpy())


def write_tensors(path, tensors):
    path.write_bytes(serialised({name: t.detach().to("cpu", torch.float32 if t.dtype == torch.float64 else t.dtype).contiguous()
                                 for name, t in tensors.items()}))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def random_gradient(seed, valid):
    generator = torch.Generator().manual_seed(seed)
    return lambda y: only_valid(torch.randn(y.shape, generator=generator, dtype=torch.float32).to(y.dtype), valid)


def save(module, folder, x, mask=None, context=None, context_mask=None, dy=None, order="spec", mend=True, seed=0,
         arguments=None, config=None):
    """Save `module` and one run of it; returns the float64 Result.

    dy         gradient of y, [as y]; random from `seed` when absent. Masked rows are set to 0.
    order      "spec" or "package": see the top of this file
    arguments  what config.json must say beyond what the module tells (a ViT's image_size and patch_size)
    config     the whole config.json instead
    """
    folder, inputs = pathlib.Path(folder), Inputs(x, mask, context, context_mask)
    config = config or {**describe(module), **(arguments or {})}
    valid, fixed, own = inputs.to("cpu", None).valid(), None, None
    if order == "package":
        own = run_as_it_is(module, inputs)
        fixed = {name: indices for name, (indices, _) in own.routes.items()}
    give = random_gradient(seed, valid) if dy is None else only_valid(dy.cpu(), valid)
    sent = []
    keep = lambda y: sent.append(give(y) if callable(give) else give.to(y.dtype)) or sent[0]
    exact = run(module, inputs, torch.float64, keep, fixed, mend)
    tolerance = float32_errors(module, inputs, sent[0], exact, mend, seed)
    if own:
        print(f"the module's own output is off the float64 reference by {error(only_valid(own.y, valid), exact.y):.1e}")

    leaves = [name for name in ("dx", "dcontext") if name in exact.gradients]
    (folder / "gradients").mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_tensors(folder / "model.safetensors", module.state_dict())
    write_arrays(folder, x=inputs.x, mask=inputs.mask, context=context, context_mask=inputs.context_mask, y=exact.y, dy=sent[0])
    write_arrays(folder / "gradients", **{name: exact.gradients[name] for name in leaves})
    write_tensors(folder / "gradients" / "gradients.safetensors",
                  {name: g for name, g in exact.gradients.items() if name not in leaves})
    write_json(folder / "gradients" / "tolerance.json", {name: float(f"{value:.3g}") for name, value in tolerance.items()})
    routes = {}
    for name, (indices, scores) in exact.routes.items():
        routes |= {name + ".indices": indices.int(), name + ".scores": scores.float()}
    write_tensors(folder / "routes.safetensors", routes)
    return exact


# --- the command --------------------------------------------------------------------------------------------------------

def example(kind, tokens):
    """A small config of each type."""
    heavy = {"heavy_dim_head": 8, "heavy_heads": 4}
    light = {"light_dim_head": 8, "light_heads": 4, "light_window_size": 16}
    block = {"dim": 32, "num_heavy_attn_tokens": tokens // 4, "num_heavy_ff_tokens": tokens // 4, **heavy, **light}
    counts = {"num_heavy_tokens_q": tokens // 4, "num_heavy_tokens_kv": tokens // 4}
    return {"type": kind, **{
        "feed_forward": {"dim": 32, "num_heavy_tokens": tokens // 4},
        "attention": {"dim": 32, **counts, **heavy, **light},
        "transformer_block": block,
        "encoder": {"depth": 2, **block},
        "text_encoder": {"depth": 2, **block},
        "masked_language_model": {"depth": 2, **block},
        "cross_attention": {"dim": 32, "num_tokens_q": tokens // 4, "num_tokens_kv": tokens // 4, "dim_head": 8, "heads": 4},
        "autoregressive_attention": {"dim": 32, **counts, **heavy, **light, "num_heavy_tokens_q": 8},
        "language_model": {"dim": 32, "depth": 2, **counts, **heavy, **light, "num_heavy_tokens_q": 16},
    }[kind]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="where the saved module goes")
    parser.add_argument("--type", default="transformer_block",
                        help="the example's type, any but image_attention and vit: " + ", ".join(MAKERS))
    parser.add_argument("--config", type=pathlib.Path, help="a config.json to build, in place of an example")
    parser.add_argument("--weights", type=pathlib.Path, help="its weights: a safetensors file, or what torch.save wrote of a state_dict")
    parser.add_argument("--input", type=pathlib.Path, help="x.npy, in place of random numbers")
    parser.add_argument("--mask", type=pathlib.Path, help="mask.npy")
    parser.add_argument("--order", choices=("spec", "package"), default="spec")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    config = json.loads(a.config.read_text()) if a.config else example(a.type, a.tokens)
    module = build(config)
    if a.weights:
        read_weights(module, a.weights)
    if a.input:
        x = torch.from_numpy(numpy.load(a.input))
    elif isinstance(module, (TextEncoder, LanguageModel)):
        x = torch.randint(PADDING, (a.batch, a.tokens))
    else:
        x = torch.randn(a.batch, a.tokens, config["dim"])
    context = torch.randn(a.batch, 2 * a.tokens, config["dim"]) if isinstance(module, ConditionalRoutedCrossAttention) else None
    mask = torch.from_numpy(numpy.load(a.mask)) if a.mask else None
    save(module, a.folder, x, mask=mask, context=context, order=a.order, seed=a.seed, config=config)
    print(f"wrote {a.folder}; compare with\n  colt5 run {a.folder} --input {a.folder}/x.npy"
          + (f" --mask {a.mask}" if a.mask else "") + (f" --context {a.folder}/context.npy" if context is not None else "")
          + f" --expect {a.folder}/y.npy --grad {a.folder}/dy.npy --expect-grad {a.folder}/gradients")


if __name__ == "__main__":
    main()
