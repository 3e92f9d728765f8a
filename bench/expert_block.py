# SPDX-License-Identifier: MIT
"""The transformer block as a PyTorch expert writes it for speed: what libcolt5 has to beat.

The weights are those of the package's ConditionalRoutedTransformerBlock, and so is the mathematics (compare_pytorch.py checks it).
Local attention is FlexAttention over a band, heavy attention is scaled_dot_product_attention, and routing is top-k alone where no
gradient is wanted, because straight-through scores are then 1. Made for torch.compile.
"""
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention


def rms_norm(x, gamma):
    return F.normalize(x, dim=-1) * (x.shape[-1] ** 0.5 * gamma)


def dense(x, layers):
    norm, first, _, second = layers
    return F.linear(F.gelu(F.linear(rms_norm(x, norm.gamma), first.weight, first.bias)), second.weight, second.bias)


def take(x, index):
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def solve(s, k, router):
    """Coordinate descent with one unknown a row, and the score of every token."""
    eps, target = max(router.eps_init or router.eps, router.eps), torch.full_like(s[:, :1], k).log()
    a = eps * (target - torch.full_like(target, s.shape[-1]).log())
    for _ in range(router.n_iters - 1):
        eps = max(eps * router.eps_decay, router.eps)
        a = a + eps * (target - ((s + a) / eps).clamp(max=0).exp().sum(-1, keepdim=True).log())
    eps = max(eps * router.eps_decay, router.eps)
    return ((s + a) / eps).clamp(max=0).exp()


def choose(x, router, k, learn):
    """Indices [B][K], and their scores: 1 in value, the solver's in gradient; None where nobody learns."""
    s = (x @ router.routing_token[0]).float()
    index = s.topk(k, dim=-1, sorted=False).indices
    if not learn:
        return index, None
    scores = solve(s, min(k * router.fetch_k_ratio, s.shape[-1]), router).gather(-1, index)
    return index, (scores + (1 - scores).detach()).to(x.dtype).unsqueeze(-1)


def times(x, scores):
    return x if scores is None else x * scores


def local(x, attention, band):
    batch, tokens, _ = x.shape
    qkv = F.linear(attention.norm(x), attention.to_qkv.weight).view(batch, tokens, 3, attention.heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return F.linear(flex_attention(q, k, v, block_mask=band).transpose(1, 2).flatten(2), attention.to_out.weight)


def heavy(x, attention, q_route, kv_route):
    batch, heads, (q_index, q_scores), (kv_index, kv_scores) = x.shape[0], attention.heads, q_route, kv_route
    split = lambda t, *rest: t.view(batch, -1, heads, *rest)
    q = split(F.linear(rms_norm(take(x, q_index), attention.norm.gamma), attention.to_q.weight), attention.null_kv.shape[-1])
    kv = split(F.linear(rms_norm(take(x, kv_index), attention.norm.gamma), attention.to_kv.weight), 2, q.shape[-1])
    q, k, v = q.transpose(1, 2), kv[..., 0, :].transpose(1, 2), kv[..., 1, :].transpose(1, 2)
    v = v if kv_scores is None else v * kv_scores.unsqueeze(1)
    null_k, null_v = attention.null_kv.unsqueeze(1).unsqueeze(3).expand(-1, batch, -1, 1, -1)
    y = F.scaled_dot_product_attention(q, torch.cat((null_k, k), 2), torch.cat((null_v, v), 2))
    return times(F.linear(y.transpose(1, 2).flatten(2), attention.to_out.weight), q_scores)


def block(module, x, band, learn):
    """y, and which tokens each router chose."""
    attention, feed_forward = module.conditional_attn, module.conditional_ff
    spread = lambda index: index.unsqueeze(-1).expand(-1, -1, x.shape[-1])
    q = choose(x, attention.q_router, attention.num_heavy_tokens_q, learn)
    kv = choose(x, attention.kv_router, attention.num_heavy_tokens_kv, learn)
    others = attention.null_q_token.expand_as(x) if attention.null_q_token is not None else torch.zeros_like(x)
    routed = others.scatter(1, spread(q[0]), heavy(x, attention.heavy_attn, q, kv))
    x = x + local(x, attention.light_attn, band) + routed
    ff = choose(x, feed_forward.router, feed_forward.num_heavy_tokens, learn)
    y = (x + dense(x, feed_forward.light_ff)).scatter_add(1, spread(ff[0]), times(dense(take(x, ff[0]), feed_forward.heavy_ff), ff[1]))
    return y, (q[0], kv[0], ff[0])


def band_of(tokens, window, device):
    reach = window // 2
    return create_block_mask(lambda b, h, i, j: (i - j).abs() <= reach, None, None, tokens, tokens, device=device,
                             _compile=device == "cuda")
