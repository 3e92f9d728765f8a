# SPDX-License-Identifier: MIT
"""What make_golden.py makes: every case by name, what it is for, its config and its inputs."""
import dataclasses


@dataclasses.dataclass
class Case:
    name: str
    about: str
    config: dict = None
    batch: int = 2
    tokens: int = 24
    shape: tuple = None          # of x, where it is not [batch, tokens, dim]
    mask: tuple = ()             # a word a sample, see make_mask
    context: int = 0             # tokens of the context, and its mask
    context_mask: tuple = ()
    padding: tuple = ()          # padding ids at the end of each sample of text
    wide_ids: bool = False       # ids of 8 bytes, not 4
    seed: int = 0                # of the call's random numbers
    injected: bool = False       # routes from the caller
    ties: bool = False           # equal tokens, hence equal scores
    routing: str = None          # a claim about the gradients of all routing tokens: nonzero, zero
    unrouted: tuple = ()         # routers with N <= K
    oracle: str = "colt5-attention"
    options: dict = None         # of a function
    scale: float = 1.0           # of its scores


SOFT = {"eps": 0.5, "n_iters": 10}   # a solver far from saturation: routing gradients that are not zero
OURS = "second implementation"


def config(kind, base, changes):
    merged = {"type": kind, **base, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def feed_forward(name, about, changes={}, **rest):
    base = {"dim": 16, "num_heavy_tokens": 8, "heavy_ff_mult": 2}
    return Case("feed_forward_" + name, about, config("feed_forward", base, changes), **{"tokens": 20, **rest})


def attention(name, about, changes={}, **rest):
    base = {"dim": 16, "num_heavy_tokens_q": 8, "num_heavy_tokens_kv": 10, "light_dim_head": 4, "light_heads": 2,
            "light_window_size": 16, "heavy_dim_head": 6, "heavy_heads": 2}
    return Case("attention_" + name, about, config("attention", base, changes), **{"tokens": 24, **rest})


BLOCK = {"dim": 16, "num_heavy_attn_tokens_q": 8, "num_heavy_attn_tokens_kv": 10, "num_heavy_ff_tokens": 6, "heavy_ff_mult": 2,
         "light_dim_head": 8, "light_heads": 2, "light_window_size": 16, "heavy_dim_head": 8, "heavy_heads": 2}


NARROW = {"dim": 8, "light_dim_head": 4, "heavy_dim_head": 4}


def block(name, about, changes={}, **rest):
    return Case("transformer_block_" + name, about, config("transformer_block", BLOCK, changes), **{"tokens": 24, **rest})


def encoder(name, about, changes={}, **rest):
    return Case("encoder_" + name, about, config("encoder", {**BLOCK, "depth": 2, **NARROW}, changes), **{"tokens": 20, **rest})


def text_encoder(name, about, changes={}, **rest):
    return Case("text_encoder_" + name, about, config("text_encoder", {**BLOCK, "depth": 1}, changes), **{"tokens": 20, **rest})


HARD = {"router_straight_through": False, "router_kwargs": SOFT}
SOFTLY = {"router_kwargs": SOFT}

FEED_FORWARD = [
    feed_forward("plain", "all defaults", {"heavy_ff_mult": None}),
    feed_forward("soft", "routing gradients that are not zero", SOFTLY, routing="nonzero"),
    feed_forward("saturated", "large scores: every selected score is 1, the router's gradient exactly 0",
                 {"dim": 24, "num_heavy_tokens": 4, "router_kwargs": {"eps": 0.001, "eps_init": 0.01}}, routing="zero", batch=1),
    feed_forward("mask", "masked tokens", SOFTLY, mask=("holes", "tail"), routing="nonzero"),
    feed_forward("all_masked", "a sample without a valid token, one with fewer than K, one full", SOFTLY, batch=3,
                 mask=("none", "5", "full"), routing="nonzero"),
    feed_forward("one_valid", "a sample with one valid token", HARD, mask=("1", "holes"), routing="nonzero"),
    feed_forward("n_equals_k", "N = K: nothing is routed", {"num_heavy_tokens": 20}, unrouted=("router",)),
    feed_forward("n_below_k", "N < K, with a mask", {"num_heavy_tokens": 100}, tokens=13, mask=("holes", "full"), unrouted=("router",)),
    feed_forward("k_one", "K = 1, odd N", {"num_heavy_tokens": 1, **SOFTLY}, tokens=37, routing="nonzero"),
    feed_forward("k_all_but_one", "K = N - 1: the solver's k is cut to N", {"num_heavy_tokens": 19, "router_kwargs": {"eps": 1.0}},
                 mask=("full", "holes")),
    feed_forward("straight_through_off", "real scores reach the output", HARD, routing="nonzero"),
    feed_forward("straight_through_off_mask", "the same with masks, one sample all masked", HARD, batch=3,
                 mask=("holes", "none", "4"), routing="nonzero"),
    feed_forward("schedule", "another schedule and ratio", {"router_kwargs": {"eps": 0.2, "eps_init": 2.0, "eps_decay": 0.5,
                 "n_iters": 6, "fetch_k_ratio": 1.5}}, routing="nonzero"),
    feed_forward("one_step", "n_iters 1, straight-through off", {"router_straight_through": False, "router_kwargs": {"n_iters": 1,
                 "eps": 1.0}}, mask=("full", "holes"), routing="nonzero"),
    feed_forward("many_steps", "n_iters 60", {"router_straight_through": False, "router_kwargs": {"n_iters": 60, "eps": 0.25}},
                 routing="nonzero"),
    feed_forward("eps_init_below_eps", "eps_init below eps starts at eps; no decay", {"router_kwargs": {"eps": 1.0, "eps_init": 0.1,
                 "eps_decay": 1.0, "fetch_k_ratio": 1.0}}, routing="nonzero"),
    feed_forward("cosine", "cosine similarity routing", {"router_kwargs": {"cosine_sim_routing": True, **SOFT}},
                 mask=("full", "holes"), routing="nonzero"),
    feed_forward("cosine_scale", "its scale, straight-through off", {"router_straight_through": False,
                 "router_kwargs": {"cosine_sim_routing": True, "cosine_sim_scale": 3, **SOFT}}, routing="nonzero"),
    feed_forward("widths", "hidden widths that are not whole multiples", {"dim": 20, "light_ff_mult": 0.7, "heavy_ff_mult": 1.3,
                 **SOFTLY}, batch=3, tokens=21, mask=("full", "holes", "tail"), routing="nonzero"),
    feed_forward("ties", "equal tokens: the smaller index wins", SOFTLY, ties=True, mask=("full", "holes")),
    feed_forward("injected", "indices and scores from the caller", injected=True, mask=("full", "holes")),
    feed_forward("sinkhorn", "Sinkhorn", {"router_type": "sinkhorn"}, oracle=OURS, routing="nonzero"),
    feed_forward("sinkhorn_mask", "Sinkhorn with masks, straight-through off, a sample all masked",
                 {"router_type": "sinkhorn", "router_straight_through": False}, batch=3, mask=("holes", "none", "5"), seed=7,
                 oracle=OURS, routing="nonzero"),
    feed_forward("sinkhorn_log_scores", "Sinkhorn as first published, another temperature and steps",
                 {"router_type": "sinkhorn", "router_kwargs": {"log_scores": True, "temperature": 1.5, "n_iters": 3}},
                 seed=2 ** 40 + 3, oracle=OURS, routing="nonzero"),
    feed_forward("cum_softmax", "cumulative softmax", {"router_type": "cum_softmax"}, oracle=OURS, routing="nonzero"),
    feed_forward("cum_softmax_mask", "cumulative softmax with masks, straight-through off, temperature",
                 {"router_type": "cum_softmax", "router_straight_through": False, "router_kwargs": {"temperature": 3.0}}, batch=3,
                 mask=("holes", "none", "5"), oracle=OURS, routing="nonzero"),
    feed_forward("blocks", "block routing, three blocks and a remainder", {"router_kwargs": {"route_block_size": 10, **SOFT}},
                 tokens=37, oracle=OURS, routing="nonzero"),
    feed_forward("blocks_mask", "block routing with masks, straight-through off", {"router_straight_through": False,
                 "router_kwargs": {"route_block_size": 8, **SOFT}}, batch=3, mask=("holes", "none", "6"), oracle=OURS,
                 routing="nonzero"),
    feed_forward("blocks_wide", "a block wider than N counts as N", {"router_kwargs": {"route_block_size": 100, **SOFT}}, oracle=OURS,
                 routing="nonzero"),
    feed_forward("blocks_full", "block routing that takes whole blocks, and fewer tokens than K",
                 {"num_heavy_tokens": 18, "router_kwargs": {"route_block_size": 16, **SOFT}}, oracle=OURS),
    feed_forward("random_route", "random routes", {"random_route": True}, seed=11, mask=("full", "holes"), oracle=OURS, routing="zero"),
]

ATTENTION = [
    attention("plain", "all defaults but the widths"),
    attention("short_name", "num_heavy_tokens for both counts", {"num_heavy_tokens_q": None, "num_heavy_tokens_kv": None,
              "num_heavy_tokens": 9}),
    attention("soft", "routing gradients that are not zero", SOFTLY, routing="nonzero"),
    attention("mask", "masked tokens, N no multiple of the window", SOFTLY, tokens=37, mask=("holes", "tail"), routing="nonzero"),
    attention("all_masked", "a sample without a valid token, one with fewer than K, one full", SOFTLY, tokens=20, batch=3,
              mask=("none", "5", "full"), routing="nonzero"),
    attention("unrouted_q", "N <= K on the query side alone", {"num_heavy_tokens_q": 24, **SOFTLY}, mask=("full", "holes"),
              unrouted=("q_router",), routing="nonzero"),
    attention("unrouted_kv", "N <= K on the key-value side alone", {"num_heavy_tokens_kv": 40, **SOFTLY}, mask=("full", "holes"),
              unrouted=("kv_router",), routing="nonzero"),
    attention("unrouted_both", "N <= K on both sides", {"num_heavy_tokens_q": 64, "num_heavy_tokens_kv": 24}, mask=("full", "holes"),
              unrouted=("q_router", "kv_router")),
    attention("unrouted_routes", "two routes that route nothing, rotary", {"num_heavy_tokens_q": 64, "num_heavy_tokens_kv": 24,
              "num_routed_kv": 2, "rotary_emb": True}, mask=("full", "holes"), unrouted=("q_router", "kv_router")),
    attention("routes_2", "two routes of key-values", {"num_routed_kv": 2, "heavy_heads": 4, **SOFTLY}, routing="nonzero"),
    attention("routes_4_mask", "four routes, masks, rotary", {"num_routed_kv": 4, "heavy_heads": 4, "rotary_emb": True, **SOFTLY},
              batch=3, tokens=20, mask=("holes", "none", "7"), routing="nonzero"),
    attention("no_light", "no light branch", {"has_light_attn": False, "light_dim_head": None, "light_heads": None,
              "light_window_size": None, **SOFTLY}, tokens=21, mask=("full", "holes"), routing="nonzero"),
    attention("no_null_q", "unrouted rows get 0", {"use_null_q_tokens": False, **SOFTLY}, mask=("full", "holes"), routing="nonzero"),
    attention("multiply_keys", "keys multiplied by their scores", {"multiply_keys_by_score": True, **HARD}, mask=("full", "holes"),
              routing="nonzero"),
    attention("multiply_queries", "queries multiplied by their scores", {"multiply_queries_by_score": True, **HARD},
              mask=("full", "holes"), routing="nonzero"),
    attention("multiply_both", "both, two routes, straight-through on", {"multiply_keys_by_score": True,
              "multiply_queries_by_score": True, "num_routed_kv": 2, **SOFTLY}, routing="nonzero"),
    attention("rotary", "rotary in the heavy branch", {"rotary_emb": True, **SOFTLY}, routing="nonzero"),
    attention("rotary_unrouted_q", "rotary, all queries", {"rotary_emb": True, "num_heavy_tokens_q": 24}, mask=("full", "holes"),
              unrouted=("q_router",)),
    attention("rotary_unrouted_kv", "rotary, all key-values, keys multiplied", {"rotary_emb": True, "num_heavy_tokens_kv": 24,
              "multiply_keys_by_score": True, **HARD}, unrouted=("kv_router",), routing="nonzero"),
    attention("light_rotary", "rotary in the light branch", {"light_rotary_emb": True, **SOFTLY}, tokens=29, mask=("full", "holes"),
              routing="nonzero"),
    attention("window_odd", "odd light window, N no multiple of it", {"light_window_size": 7, "light_dim_head": 12, "light_heads": 3},
              tokens=26),
    attention("window_two", "the smallest light window", {"light_window_size": 2, "light_heads": 1}, tokens=33, mask=("full", "holes")),
    attention("window_wide", "a light window wider than N", {"light_window_size": 128}, tokens=21, mask=("full", "tail")),
    attention("straight_through_off", "real scores reach the output", HARD, mask=("full", "holes"), routing="nonzero"),
    attention("cosine", "cosine similarity routing, another schedule", {"router_kwargs": {"cosine_sim_routing": True,
              "cosine_sim_scale": 4, "eps": 0.3, "eps_init": 1.0, "eps_decay": 0.6, "n_iters": 12, "fetch_k_ratio": 1.25}},
              mask=("full", "holes"), routing="nonzero"),
    attention("k_one", "one query, one key-value", {"num_heavy_tokens_q": 1, "num_heavy_tokens_kv": 1, **SOFTLY}, tokens=19,
              routing="nonzero"),
    attention("ties", "equal tokens: the smaller index wins", SOFTLY, ties=True, mask=("full", "holes")),
    attention("injected", "indices and scores from the caller, two routes", {"num_routed_kv": 2, "rotary_emb": True,
              "multiply_keys_by_score": True, "multiply_queries_by_score": True}, injected=True, mask=("full", "holes")),
    attention("sinkhorn", "Sinkhorn, two routes", {"router_type": "sinkhorn", "num_routed_kv": 2, "router_kwargs": {"n_iters": 2}},
              mask=("full", "holes"), seed=5, oracle=OURS, routing="nonzero"),
    attention("cum_softmax", "cumulative softmax, two routes", {"router_type": "cum_softmax", "num_routed_kv": 2},
              mask=("full", "holes"), oracle=OURS, routing="nonzero"),
    attention("blocks", "block routing, two routes, rotary", {"num_routed_kv": 2, "rotary_emb": True,
              "router_kwargs": {"route_block_size": 9, **SOFT}}, mask=("full", "holes"), oracle=OURS, routing="nonzero"),
    attention("random_route", "random routes, two of them", {"random_route": True, "num_routed_kv": 2}, seed=3,
              mask=("full", "holes"), oracle=OURS, routing="zero"),
    attention("wide", "more heads than the rest, one sample", {"dim": 28, "heavy_heads": 4, "light_heads": 3, "heavy_dim_head": 10,
              **SOFTLY}, batch=1, tokens=40, routing="nonzero"),
]

BLOCKS = [
    block("plain", "all defaults but the widths"),
    block("soft_mask", "routing gradients that are not zero, masks", SOFTLY, mask=("holes", "tail"), routing="nonzero"),
    block("short_name", "num_heavy_attn_tokens for both counts", {**NARROW, "num_heavy_attn_tokens_q": None,
          "num_heavy_attn_tokens_kv": None, "num_heavy_attn_tokens": 7}, batch=1, tokens=32),
    block("routes_2_rotary", "two routes, both rotaries", {"num_routed_kv": 2, "rotary_emb": True, "light_rotary_emb": True,
          **SOFTLY}, mask=("full", "holes"), routing="nonzero"),
    block("all_masked", "a sample without a valid token", {**NARROW, **HARD}, batch=3, tokens=16, mask=("none", "5", "full"),
          routing="nonzero"),
    block("unrouted_ff", "N <= K in the feedforward alone", {**NARROW, "num_heavy_ff_tokens": 24, **SOFTLY},
          unrouted=("conditional_ff.router",), routing="nonzero", mask=("full", "holes")),
    block("unrouted_attn", "N <= K in the attention alone", {**NARROW, "num_heavy_attn_tokens_q": 24, "num_heavy_attn_tokens_kv": 24,
          **SOFTLY}, unrouted=("conditional_attn.q_router", "conditional_attn.kv_router"), routing="nonzero"),
    block("unrouted", "N <= K everywhere", {**NARROW, "num_heavy_attn_tokens": 50, "num_heavy_attn_tokens_q": None,
          "num_heavy_attn_tokens_kv": None, "num_heavy_ff_tokens": 50}, tokens=17, mask=("full", "holes"),
          unrouted=("conditional_attn.q_router", "conditional_attn.kv_router", "conditional_ff.router")),
    block("straight_through_off", "real scores reach the output", {**NARROW, **HARD, "multiply_keys_by_score": True,
          "multiply_queries_by_score": True}, routing="nonzero"),
    block("no_light_no_null", "no light attention, no null query token", {**NARROW, "has_light_attn": False, "light_dim_head": None,
          "light_heads": None, "light_window_size": None, "use_null_q_tokens": False, **SOFTLY}, mask=("full", "holes"),
          routing="nonzero"),
    block("sinkhorn", "Sinkhorn: three routers, three seeds", {"router_type": "sinkhorn", "router_kwargs": {"n_iters": 3}},
          mask=("full", "holes"), seed=100, oracle=OURS, routing="nonzero"),
    block("cum_softmax", "cumulative softmax", {**NARROW, "router_type": "cum_softmax", "router_straight_through": False},
          mask=("full", "holes"), oracle=OURS, routing="nonzero"),
    block("blocks", "block routing", {**NARROW, "router_kwargs": {"route_block_size": 8, **SOFT}}, mask=("full", "holes"),
          oracle=OURS, routing="nonzero"),
    block("random_route", "random routes", {**NARROW, "random_route": True}, seed=9, mask=("full", "holes"), oracle=OURS,
          routing="zero"),
]

ENCODERS = [
    encoder("plain", "two layers, all defaults but the widths"),
    encoder("soft_mask", "two layers, routing gradients that are not zero, masks, rotary", {"rotary_emb": True, **SOFTLY},
            mask=("holes", "tail"), routing="nonzero"),
    encoder("all_masked", "two layers, a sample without a valid token", SOFTLY, batch=3, tokens=16, mask=("none", "5", "full"),
            routing="nonzero"),
    encoder("straight_through_off", "two layers, two routes, real scores", {"num_routed_kv": 2, **HARD}, routing="nonzero"),
    encoder("sinkhorn", "two layers: six routers, six seeds", {"router_type": "sinkhorn", "router_kwargs": {"n_iters": 2}}, batch=1,
            tokens=30, seed=1, oracle=OURS, routing="nonzero"),
    encoder("depth_one", "one layer", {"depth": 1}, batch=1, tokens=21, mask=("holes",)),
]

SMALL_TEXT = {**NARROW, "vocab_size": 258}
TEXT_ENCODERS = [
    text_encoder("plain", "bytes with padding, both rotaries by default", {"heavy_ff_mult": 1}, padding=(0, 7)),
    text_encoder("soft", "routing gradients that are not zero, ids of 8 bytes", {**SMALL_TEXT, **SOFTLY}, padding=(3, 0),
                 wide_ids=True, routing="nonzero"),
    text_encoder("mask", "padding and a mask together, a sample all padding", {**SMALL_TEXT, **SOFTLY}, batch=3, padding=(4, 20, 0),
                 mask=("holes", "full", "tail"), routing="nonzero"),
    text_encoder("no_rotary", "no rotary, another vocabulary size", {**SMALL_TEXT, "vocab_size": 260, "rotary_emb": False,
                 "light_rotary_emb": False, **SOFTLY}, padding=(0, 5), routing="nonzero"),
    text_encoder("depth_two", "two layers, two routes", {**SMALL_TEXT, "depth": 2, "num_routed_kv": 2, **SOFTLY}, padding=(0, 2),
                 routing="nonzero"),
]



def cross(name, about, changes={}, **rest):
    base = {"dim": 12, "num_tokens_q": 6, "num_tokens_kv": 9, "dim_head": 6, "heads": 2}
    return Case("cross_attention_" + name, about, config("cross_attention", base, changes), **{"tokens": 17, "context": 29, **rest})


CROSS = [
    cross("plain", "all defaults but the widths"),
    cross("soft_mask", "routing gradients that are not zero, both masks", SOFTLY, mask=("full", "holes"),
          context_mask=("holes", "tail"), routing="nonzero"),
    cross("all_masked", "samples without a valid token, on either side", HARD, batch=3, mask=("none", "5", "full"),
          context_mask=("4", "none", "full"), routing="nonzero"),
    cross("routes_2", "two sets of key-values, keys multiplied by their scores", {"kv_routing_tokens": 2,
          "multiply_keys_by_score": True, **HARD}, context_mask=("full", "holes"), routing="nonzero"),
    cross("unrouted_q", "N <= K on the query side: the output is the heavy output", {"num_tokens_q": 17, **SOFTLY},
          context_mask=("full", "holes"), unrouted=("q_router",), routing="nonzero"),
    cross("unrouted_kv", "N <= K on the context's side, two sets", {"num_tokens_kv": 40, "kv_routing_tokens": 2, **SOFTLY},
          mask=("full", "holes"), context_mask=("full", "holes"), unrouted=("kv_router",), routing="nonzero"),
    cross("unrouted_both", "N <= K on both sides", {"num_tokens_q": 20, "num_tokens_kv": 29}, mask=("full", "holes"),
          context_mask=("holes", "full"), unrouted=("q_router", "kv_router")),
    cross("no_null_q", "unrouted rows get 0", {"use_null_q_tokens": False, **SOFTLY}, routing="nonzero"),
    cross("blocks", "block routing of the key-values alone", {"route_block_size": 8, **SOFTLY}, context_mask=("full", "holes"),
          oracle=OURS, routing="nonzero"),
    cross("sinkhorn", "Sinkhorn", {"router_type": "sinkhorn", "router_kwargs": {"n_iters": 2}}, context_mask=("full", "holes"),
          seed=4, oracle=OURS, routing="nonzero"),
]


def autoregressive(name, about, changes={}, **rest):
    base = {"dim": 12, "num_heavy_tokens_q": 4, "num_heavy_tokens_kv": 9, "light_dim_head": 6, "light_heads": 2, "light_window_size": 8,
            "heavy_dim_head": 6, "heavy_heads": 2}
    return Case("autoregressive_attention_" + name, about, config("autoregressive_attention", base, changes), **{"tokens": 32, **rest})


AUTOREGRESSIVE = [
    autoregressive("plain", "all defaults but the widths"),
    autoregressive("soft", "routing gradients that are not zero, N no multiple of the window", SOFTLY, tokens=29, routing="nonzero"),
    autoregressive("routes_2_rotary", "two routes, rotary, real scores, keys and queries multiplied",
                   {"num_routed_kv": 2, "rotary_emb": True, "multiply_keys_by_score": True, "multiply_queries_by_score": True,
                   **HARD}, tokens=27, routing="nonzero"),
    autoregressive("window", "another heavy window than the light one", {"heavy_window_size": 12, "light_window_size": 5, **SOFTLY},
                   tokens=40, routing="nonzero"),
    autoregressive("unrouted_q", "all queries of a window, rotary, rotary in the light branch: what a language model is made of",
                   {"num_heavy_tokens_q": 8, "rotary_emb": True, "light_rotary_emb": True, **SOFTLY}, tokens=30,
                   unrouted=("q_router",), routing="nonzero"),
    autoregressive("unrouted_kv", "all earlier tokens, no null query token", {"num_heavy_tokens_kv": 32, "use_null_q_tokens": False,
                   **SOFTLY}, tokens=29, unrouted=("kv_router",), routing="nonzero"),
    autoregressive("unrouted_both", "nothing routed", {"num_heavy_tokens_q": 20, "num_heavy_tokens_kv": 100, "rotary_emb": True},
                   tokens=21, unrouted=("q_router", "kv_router")),
    autoregressive("light_only", "N no more than a window: light only", tokens=8, oracle=OURS, unrouted=("q_router", "kv_router")),
    autoregressive("mask", "masks, two routes, rotary", {"num_routed_kv": 2, "rotary_emb": True, **SOFTLY}, batch=3, tokens=29,
                   mask=("holes", "none", "tail"), oracle=OURS, routing="nonzero"),
    autoregressive("sinkhorn", "Sinkhorn: rows are counted by window", {"router_type": "sinkhorn", "num_routed_kv": 2,
                   "router_kwargs": {"n_iters": 2}}, tokens=29, seed=6, oracle=OURS, routing="nonzero"),
    autoregressive("random_route", "random routes", {"random_route": True, "num_routed_kv": 2}, seed=8, oracle=OURS, routing="zero"),
]


def image(name, about, changes={}, **rest):
    base = {"dim": 12, "num_heavy_tokens_q": 5, "num_heavy_tokens_kv": 7, "light_dim_head": 6, "light_heads": 2, "light_window_size": 4,
            "heavy_dim_head": 6, "heavy_heads": 2}
    made = config("image_attention", base, changes)
    shape = (2, 12, 8, 4) if made.get("channel_first") else (2, 8, 4, 12)
    return Case("image_attention_" + name, about, made, **{"shape": shape, "tokens": 32, **rest})


WINDOW = {"route_scope": "window"}
IMAGES = [
    image("window", "routing inside windows, all defaults but the widths", WINDOW),
    image("window_soft", "routing gradients that are not zero, two routes, real scores", {**WINDOW, "num_routed_kv": 2,
          "multiply_keys_by_score": True, "multiply_queries_by_score": True, **HARD}, routing="nonzero"),
    image("window_channel_first", "channels first, no null query token", {**WINDOW, "channel_first": True, "use_null_q_tokens": False,
          **SOFTLY}, routing="nonzero"),
    image("window_unrouted", "windows of no more than K tokens, masks", {**WINDOW, "num_heavy_tokens_q": 16, **SOFTLY},
          mask=("full", "holes"), oracle=OURS, unrouted=("q_router",), routing="nonzero"),
    image("plain", "routing over the picture, all defaults but the widths", oracle=OURS),
    image("soft_mask", "routing gradients that are not zero, masks, two routes", {"num_routed_kv": 2, **SOFTLY},
          mask=("holes", "tail"), oracle=OURS, routing="nonzero"),
    image("odd_size", "a picture that windows do not divide, masks", SOFTLY, shape=(2, 7, 6, 12), tokens=42, mask=("full", "holes"),
          oracle=OURS, routing="nonzero"),
    image("channel_first", "channels first, a window larger than the picture", {"channel_first": True, "light_window_size": 16,
          **SOFTLY}, oracle=OURS, routing="nonzero"),
    image("unrouted", "N <= K on the key-value side", {"num_heavy_tokens_kv": 32, **SOFTLY}, mask=("full", "holes"), oracle=OURS,
          unrouted=("kv_router",), routing="nonzero"),
]


def vit(name, about, changes={}, **rest):
    base = {"dim": 8, "depth": 1, "image_size": 16, "patch_size": 2, "num_classes": 5, "attn_num_heavy_tokens_q": 6,
    "attn_num_heavy_tokens_kv": 7,
            "attn_light_dim_head": 4, "attn_light_heads": 2, "attn_light_window_size": 4, "attn_heavy_dim_head": 4, "attn_heavy_heads": 2,
            "ff_num_heavy_tokens": 9, "ff_light_mult": 0.5, "ff_heavy_mult": 2}
    return Case("vit_" + name, about, config("vit", base, changes), **{"shape": (2, 3, 16, 16), **rest})


VITS = [
    vit("window", "routing inside windows", WINDOW, routing="nonzero"),
    vit("window_options", "one channel, two layers, two routes, real scores", {**WINDOW, "channels": 1, "depth": 2,
        "attn_num_routed_kv": 2, "router_straight_through": False, "router_kwargs": {"eps": 0.5}}, shape=(2, 1, 16, 16),
        routing="nonzero"),
    vit("image", "routing over the picture", oracle=OURS, routing="nonzero"),
    vit("oblong", "an oblong picture that windows do not divide, oblong patches", {"image_size": [12, 20], "patch_size": [2, 4]},
        shape=(1, 3, 12, 20), oracle=OURS, routing="nonzero"),
]

CAUSAL = {"dim": 8, "depth": 2, "num_heavy_tokens_q": 8, "num_heavy_tokens_kv": 9, "light_dim_head": 4, "light_heads": 2,
"light_window_size": 8,
          "heavy_dim_head": 4, "heavy_heads": 2, "rotary_emb": True, "light_rotary_emb": True, "ff_mult": 2}
MODELS = [
    Case("masked_language_model_soft", "logits, padding", config("masked_language_model", {**BLOCK, **NARROW, "depth": 1}, SOFTLY),
         batch=1, tokens=17, padding=(3,), routing="nonzero"),
    Case("language_model_soft", "two layers, N no multiple of the window", config("language_model", CAUSAL, {"vocab_size": 40,
         **SOFTLY}), tokens=21, unrouted=("layers.0.0.q_router", "layers.1.0.q_router"), routing="nonzero"),
    Case("language_model_padding", "padding at the end, two routes", config("language_model", CAUSAL, {"num_routed_kv": 2, "depth": 1,
         **HARD}), batch=1, tokens=18, padding=(5,), unrouted=("layers.0.0.q_router",), routing="nonzero"),
]

CASES = FEED_FORWARD + ATTENTION + BLOCKS + ENCODERS + TEXT_ENCODERS + CROSS + AUTOREGRESSIVE + IMAGES + VITS + MODELS


def solver(name, about, shape, scale=1.0, mask=(), routing="nonzero", **options):
    return Case("coor_descent_" + name, about, shape=shape, scale=scale, mask=mask, routing=routing, options={"n_iters": 20, **options})


SOLVER_CASES = [
    solver("default", "the router's options", (3, 100), k=18.0, eps=0.03, eps_init=4.0, eps_decay=0.7, routing=None),
    solver("spread", "the spread of unit-normal tokens of width 64", (2, 257), scale=8.0, k=36.0, eps=0.03, eps_init=4.0,
           eps_decay=0.7, routing=None),
    solver("soft", "far from saturation", (3, 65), k=9.0, eps=0.5, eps_init=2.0, eps_decay=0.8),
    solver("mask", "masked tokens, a row without a valid one, a row with fewer than k", (4, 64), mask=("holes", "none", "5", "full"),
           k=9.0, eps=0.3, eps_init=4.0, eps_decay=0.7),
    solver("one_step", "one step", (2, 33), k=4.5, n_iters=1, eps=0.7),
    solver("two_steps", "two steps", (2, 33), k=4.5, n_iters=2, eps=0.7, eps_init=3.0, eps_decay=0.5),
    solver("many_steps", "200 steps", (2, 64), k=12.0, n_iters=200, eps=0.1, eps_init=4.0, eps_decay=0.9),
    solver("no_scaling", "eps alone", (2, 40), k=8.0, eps=0.1, n_iters=50),
    solver("k_is_n", "k = N", (2, 31), k=31.0, eps=0.2, eps_init=4.0, eps_decay=0.7, routing=None),
    solver("k_one", "k = 9/8, one row of one block's width", (1, 16), k=1.125, eps=0.2, eps_init=1.0, eps_decay=0.7),
    solver("long", "a longer row", (1, 1500), k=72.0, eps=0.2, eps_init=4.0, eps_decay=0.7),
]


def router(name, about, shape, scale=1.0, mask=(), seed=0, **options):
    return Case(name, about, shape=shape, scale=scale, mask=mask, seed=seed, options=options)


ROUTER_CASES = [
    router("sinkhorn_default", "all defaults", (2, 2, 40), k=6, temperature=0.7, n_iters=8),
    router("sinkhorn_short", "two steps, another seed", (2, 1, 33), k=5, temperature=0.7, n_iters=2, seed=12),
    router("sinkhorn_two_slots", "two slots, one step", (3, 1, 17), k=2, temperature=1.0, n_iters=1, seed=1),
    router("sinkhorn_mask", "masked tokens, rows without a valid one, with one, with fewer than K", (4, 2, 24), k=7, temperature=0.9,
           n_iters=3, mask=("holes", "none", "1", "5"), seed=2 ** 33 + 5),
    router("sinkhorn_log_scores", "as first published", (2, 2, 30), k=6, temperature=0.7, n_iters=3, log_scores=True),
    router("cum_softmax_default", "all defaults", (2, 3, 40), temperature=1.0),
    router("cum_softmax_clamp", "a spread at which the sum is clamped", (2, 1, 50), scale=8.0, temperature=1.0),
    router("cum_softmax_mask", "masked tokens, rows without a valid one, with one, with few; temperature", (4, 2, 24),
           temperature=2.5, mask=("holes", "none", "1", "5")),
]


def topk(name, about, shape, scale=1.0, mask=(), routing="nonzero", **options):
    return Case("topk_" + name, about, shape=shape, scale=scale, mask=mask, routing=routing, options=options)


TOPK_CASES = [
    topk("default", "all defaults", (3, 50), k=8, routing=None),
    topk("vector", "a single row", (41,), k=5, eps=0.3),
    topk("batch", "leading dimensions", (2, 3, 27), k=6, eps=0.4, n_iters=10, ratio=1.5, eps_init=2.0, eps_decay=0.8),
    topk("mask", "masked tokens, a row without a valid one, a row with fewer than k", (4, 40), mask=("holes", "none", "4", "full"),
         k=7, eps=0.3),
    topk("k_one", "k = 1", (3, 20), k=1, eps=0.3),
    topk("k_is_n", "k = N: sorting", (2, 12), k=12, eps=0.3, routing=None),
]
