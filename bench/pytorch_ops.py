# SPDX-License-Identifier: MIT
"""What PyTorch has for single ops, at the sizes `colt5 bench` times them: width 512, 8 heads of 64, window 128, 1024 routed tokens."""
import torch
import torch.nn.functional as F

WIDTH, HEADS, HEAD, WINDOW, ROUTED = 512, 8, 64, 128, 1024


def descent(device, k):
    options = dict(n_iters=20, k=k * 1.125, eps=0.03, eps_init=4.0, eps_decay=0.7)
    if device == "cuda":
        from colt5_attention.triton_coor_descent import triton_coor_descent
        return lambda s: triton_coor_descent(s, checkpoint_segments=4, **options)
    from colt5_attention.coor_descent import coor_descent
    return lambda s: coor_descent(s, **options)


def local(device, tokens):
    import expert_block
    from torch.nn.attention.flex_attention import flex_attention
    band = expert_block.band_of(tokens, WINDOW, device)
    return torch.compile(lambda q, k, v: flex_attention(q, k, v, block_mask=band))


def make(name, batch, tokens, device, dtype):
    """The op, and the tensors it is called with, all of which get gradients."""
    k = min(ROUTED, tokens)
    new = lambda *dims, of=dtype: torch.randn(*dims, device=device, dtype=of)
    if name == "coor_descent":
        return descent(device, k), [new(batch, tokens, of=torch.float32)]
    if name == "select":
        return lambda s: s.topk(k, dim=-1).values, [new(batch, tokens, of=torch.float32)]
    if name == "linear":
        return F.linear, [new(batch, tokens, WIDTH), new(3 * HEADS * HEAD, WIDTH)]
    if name == "gelu":
        return F.gelu, [new(batch, tokens, WIDTH)]
    if name == "rms_norm":
        return lambda x, gamma: F.rms_norm(x, (WIDTH,), gamma), [new(batch, tokens, WIDTH), new(WIDTH)]
    if name == "layer_norm":
        return lambda x, weight, bias: F.layer_norm(x, (WIDTH,), weight, bias), [new(batch, tokens, WIDTH), new(WIDTH), new(WIDTH)]
    if name == "flash_attention":
        return F.scaled_dot_product_attention, [new(batch, HEADS, k, HEAD), new(batch, HEADS, k + 1, HEAD), new(batch, HEADS, k + 1, HEAD)]
    if name == "local_attention":
        return local(device, tokens), [new(batch, HEADS, tokens, HEAD) for _ in range(3)]
    raise ValueError(f"nothing in PyTorch is called {name} here")
