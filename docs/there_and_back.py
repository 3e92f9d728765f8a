#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A routed block is trained in PyTorch, trained on in C, and comes back to PyTorch for more.

    python3 docs/there_and_back.py --output trip --fit build/examples/fit

Its weights go both ways in one file, model.safetensors, by the same names. Beside it an equal block goes all the way in PyTorch; the
losses of every step are compared, and the exit code is 5 where they differ by more than --limit (1e-4, relative).
Needs what docs/from_pytorch.py needs, and examples/fit.c compiled.
"""
import argparse, pathlib, subprocess, sys
import numpy, torch
import from_pytorch
from colt5_attention import ConditionalRoutedTransformerBlock


def train(block, x, target, steps, rate):
    """Steps of AdamW on the mean squared error; the losses before each. The block may have been trained anywhere."""
    from_pytorch.prepare(block)  # libcolt5's order among equal scores, so that both route the same tokens
    adamw = torch.optim.AdamW(block.parameters(), lr=rate, betas=(0.9, 0.95), eps=1e-8, weight_decay=0)
    losses, mask = [], torch.ones(x.shape[:2], dtype=torch.bool)
    for _ in range(steps):
        with from_pytorch.patched(block, x, True):
            loss = (block(x, mask=mask) - target).square().mean()
        adamw.zero_grad()
        loss.backward()
        adamw.step()
        losses.append(float(loss.detach()))
    return losses


def save(block, folder):
    folder.mkdir(parents=True, exist_ok=True)
    from_pytorch.write_json(folder / "config.json", from_pytorch.describe(block))
    from_pytorch.write_tensors(folder / "model.safetensors", block.state_dict())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="a folder for all that is made")
    parser.add_argument("--fit", default="build/examples/fit", help="examples/fit.c, compiled")
    parser.add_argument("--steps", type=int, default=20, help="of each of the three legs")
    parser.add_argument("--rate", type=float, default=1e-3, help="AdamW's learning rate")
    parser.add_argument("--limit", type=float, default=1e-4)
    a = parser.parse_args()
    torch.manual_seed(0)
    block = ConditionalRoutedTransformerBlock(
        64, num_heavy_attn_tokens_q=16, num_heavy_attn_tokens_kv=16, num_heavy_ff_tokens=16, light_dim_head=16, light_heads=4,
        light_window_size=16, heavy_dim_head=16, heavy_heads=4, router_kwargs={"eps": 1.0})
    x = torch.randn(4, 64, 64)
    target = x.roll(1, dims=1)  # each token becomes the one before it
    stay = from_pytorch.build(from_pytorch.describe(block))
    stay.load_state_dict(block.state_dict())

    there, far, back = a.output / "there", a.output / "far", a.output / "back"
    losses = train(block, x, target, a.steps, a.rate)
    save(block, there)
    numpy.save(a.output / "x.npy", x.numpy())
    numpy.save(a.output / "target.npy", target.numpy())
    fit = [a.fit, there, a.output / "x.npy", a.output / "target.npy", a.steps, a.rate, far]
    losses += [float(line) for line in subprocess.run(map(str, fit), check=True, stdout=subprocess.PIPE, text=True).stdout.split()]
    block = from_pytorch.load(far)
    losses += train(block, x, target, a.steps, a.rate)
    save(block, back)

    want = [loss for _ in range(3) for loss in train(stay, x, target, a.steps, a.rate)]  # each leg starts AdamW anew
    errors = [abs(have / loss - 1) for have, loss in zip(losses, want, strict=True)]
    for leg, place in enumerate(("PyTorch", "libcolt5", "PyTorch")):
        i = leg * a.steps
        print(f"{place:8}: steps {i + 1:3} to {i + a.steps:3}, loss {losses[i]:.6f} to {losses[i + a.steps - 1]:.6f}; "
              f"in PyTorch all the way {want[i]:.6f} to {want[i + a.steps - 1]:.6f}")
    print(f"largest difference of {len(want)} losses: {max(errors):.1e} relative")
    weights, origin = dict(block.named_parameters()), from_pytorch.load(there).state_dict()
    off = {name: from_pytorch.error(weights[name].detach(), t.detach()) for name, t in stay.named_parameters()}
    print(f"largest difference of a tensor in the end: {max(off.values()):.1e} relative, {max(off, key=off.get)}")
    still = [name for name, t in from_pytorch.load(far).named_parameters() if torch.equal(t.detach(), origin[name])]
    print("tensors that libcolt5 left as they were: " + (", ".join(still) or "none"))
    sys.exit(5 if max(errors) > a.limit else 0)


if __name__ == "__main__":
    main()
