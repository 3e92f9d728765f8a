#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One transformer block by PyTorch and by libcolt5, in turn, on one device: the ratio table of docs/benchmarks.md.

    python3 bench/compare_pytorch.py --colt5 build/colt5                         on the GPU where PyTorch sees one, else the CPU
    python3 bench/compare_pytorch.py --colt5 build/colt5 --device cpu --batch 1 --tokens 4096 --heavy 512

Rivals, each in a process of its own that is asked in turn (--rivals picks):

    eager      the package colt5-attention as it is
    triton     with its Triton router (GPU)
    compiled   under torch.compile
    expert     the same mathematics rewritten for speed, bench/expert_block.py, under torch.compile
    autotuned  that with mode="max-autotune" (GPU)

All have the same weights, the same input and, backward, the same gradient. Before anything is timed each rival's output, and its
gradient of the input, is checked against libcolt5's, on the same routes: those that libcolt5 chose are injected into the package's
routers; those that the expert's block chose are injected into `colt5 run --routes`, forward. What is left (compiled, and the expert's
backward) keeps its own: tokens with equal scores, or scores rounded to 16 bits, are then chosen otherwise, and their rows differ as a
whole. So besides the error of all rows the table's notes have the median error of a row and the share of rows off by a tenth.
Results too far apart are named at the end, and the exit status is 1: an output on the same routes by the error of all rows, what else
there is (routers' gradients pass through a solver that PyTorch rounds to the type) by the median row's and the share of rows off; a
gradient on own routes by that share alone, for what others attend to reaches every row a little.
Timed is what each does for itself, the choice of tokens included.

With --ops, single ops too: bench/pytorch_ops.py beside `colt5 bench --only`, on random values of each side's own, timed and not
compared: their results are the test suite's matter.

A figure is the median over --rounds of the median of --calls calls, each waited for, in brackets the least; memory is the peak beyond
weights and inputs, outputs and gradients included. Between two figures of one side every other side has its turn. What raises an error
is reported with it.

Needs: torch, colt5-attention 0.11.2, local-attention 1.11.2, safetensors, numpy.
"""
import argparse, concurrent.futures, json, os, pathlib, shutil, signal, statistics, subprocess, sys, tempfile, threading, time
import numpy

HERE = pathlib.Path(__file__).resolve().parent
TYPES = {"fp32": ("f32", "strict"), "tf32": ("f32", "fast"), "bf16": ("bf16", "strict"), "f16": ("f16", "strict")}
LIMITS = {"fp32": 2e-6, "tf32": 1e-3, "bf16": 1e-2, "f16": 1e-2}  # those of `colt5 run --expect`
MOST_OFF = 0.5  # of the rows, where others were chosen
PASSES = ("forward", "backward")
OPS = ("coor_descent", "select", "linear", "gelu", "rms_norm", "layer_norm", "flash_attention", "local_attention")
ROUTERS = ("conditional_attn.q_router", "conditional_attn.kv_router", "conditional_ff.router")


# --- a rival: a process that prepares one way to run the block, then runs it when asked ---------------------------------

class Rival:
    def __init__(self, task):
        sys.path[:0] = [str(HERE), str(HERE.parent / "docs")]
        import torch, from_pytorch
        self.torch, self.from_pytorch, self.task = torch, from_pytorch, task
        self.device, self.learn = task["device"], task["pass"] == "backward"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = task["type"] == "tf32"
        self.dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(task["type"], torch.float32)
        self.op() if task["rival"] in OPS else self.block()

    def op(self):
        import pytorch_ops
        self.run, self.inputs = pytorch_ops.make(self.task["rival"], self.task["batch"], self.task["tokens"], self.device, self.dtype)
        self.leaves = self.inputs
        for t in self.inputs:
            t.requires_grad_(self.learn)
        self.dy = self.torch.randn_like(self.run(*self.inputs))

    def block(self):
        torch, task = self.torch, self.task
        self.module = self.load()
        self.x, self.dy = self.array("x"), self.array("dy")
        self.x.requires_grad_(self.learn)
        self.inputs, self.leaves = [self.x], [self.x, *self.module.parameters()]
        self.routes, self.solvers = None, {}
        self.run = self.expert() if task["rival"] in ("expert", "autotuned") else self.package()

    def array(self, name):
        values = numpy.load(pathlib.Path(self.task["folder"]) / f"{name}.npy")
        return self.torch.from_numpy(values).to(self.device, self.dtype)

    def load(self):
        folder = pathlib.Path(self.task["folder"])
        config = json.loads((folder / "config.json").read_text())
        if self.task["rival"] == "triton":
            config["use_triton"] = True
        module = self.from_pytorch.build(config)
        self.from_pytorch.read_weights(module, folder / "model.safetensors")
        return module.to(self.device, self.dtype)

    def package(self):
        return self.torch.compile(self.module) if self.task["rival"] == "compiled" else self.module

    def expert(self):
        import expert_block
        config = self.module.conditional_attn.light_attn.attn_fn
        band = expert_block.band_of(self.x.shape[1], 2 * config.window_size, self.device)
        mode = "max-autotune" if self.task["rival"] == "autotuned" else None
        whole = self.torch.compile(lambda x: expert_block.block(self.module, x, band, self.learn), mode=mode)

        def run(x):
            y, self.routes = whole(x)
            return y
        return run

    def clear(self):
        for leaf in self.leaves:
            leaf.grad = None

    def step(self):
        if not self.learn:
            with self.torch.no_grad():
                return self.run(*self.inputs)
        self.clear()
        y = self.run(*self.inputs)
        y.backward(self.dy)
        return y

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def first(self, routes):
        """The first run, in the package on these routes; the expert's own, where `colt5 run` can take them, go to a file."""
        if self.task["rival"] in ("eager", "triton"):
            self.pin(routes)
        self.y = self.step().detach().clone()
        self.dx = self.x.grad.clone() if self.learn else None
        self.unpin()
        if self.routes is None or self.learn:
            return {"routes": None}
        path = pathlib.Path(self.task["folder"]) / f"routes-{self.task['number']}.safetensors"
        tensors = {}
        for name, index in zip(ROUTERS, self.routes):
            index = index.detach().cpu().unsqueeze(1).sort(dim=-1).values.int()
            tensors |= {name + ".indices": index, name + ".scores": self.torch.ones(index.shape)}
        self.from_pytorch.write_tensors(path, tensors)
        return {"routes": str(path)}

    def pin(self, path):
        """The package's routers solve as ever, and then take the tokens they are told to."""
        from safetensors.torch import load_file
        given = load_file(path)
        for name, router in self.from_pytorch.routers(self.module).items():
            index, solve = given[name + ".indices"].long().flatten(0, 1).to(self.device), router.coor_descent

            def told(s, index=index, solve=solve, **options):
                scores = solve(s, **options).as_subclass(self.from_pytorch.Chosen)
                scores.pick = lambda k: index
                return scores
            router.coor_descent, self.solvers[name] = told, solve

    def unpin(self):
        for name, router in self.from_pytorch.routers(self.module).items():
            router.coor_descent = self.solvers.pop(name, router.coor_descent)

    def rows_off(self, mine, path):
        theirs = self.torch.from_numpy(numpy.load(path)).to(self.device)
        mine = mine.float()
        norm = lambda t: t.norm(dim=-1)
        error = norm(mine - theirs) / norm(theirs).clamp(min=1e-20)
        return {"error": float((mine - theirs).norm() / theirs.norm()), "row": float(error.median()),
                "off": float((error > 0.1).float().mean())}

    def compare(self, y, dx):
        result = {"y": self.rows_off(self.y, y)}
        if dx:
            result["dx"] = self.rows_off(self.dx, dx)
        self.y = self.dx = None
        return result

    def warm(self):
        for _ in range(3):
            self.step()
        self.wait()
        if self.device != "cuda":
            return {"peak_bytes": None}
        self.clear()
        held = self.torch.cuda.memory_allocated()
        self.torch.cuda.reset_peak_memory_stats()
        self.step()
        self.wait()
        return {"peak_bytes": self.torch.cuda.max_memory_allocated() - held}

    def time(self, calls):
        times = []
        self.step()
        self.wait()
        for _ in range(calls):
            start = time.perf_counter()
            self.step()
            self.wait()
            times.append((time.perf_counter() - start) * 1e3)
        return {"ms": times}

    def about(self):
        name = self.torch.cuda.get_device_name() if self.device == "cuda" else f"{self.torch.get_num_threads()} threads"
        return {"torch": self.torch.__version__, "device": name}


def serve():
    """Requests and answers as lines of JSON; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    rival = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                rival = Rival(request["task"])
                answer = rival.about()
            else:
                answer = getattr(rival, request.pop("do"))(**request)
        except Exception as error:  # a rival that fails is a finding
            answer = {"error": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"}
        print(json.dumps(answer), file=answers, flush=True)


# --- the two sides, seen from here --------------------------------------------------------------------------------------

class Failed(Exception):
    pass


class Worker:
    def __init__(self, task, threads):
        self.task, self.times, self.least = task, [], []
        environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": str(threads)}
        log = open(pathlib.Path(task["folder"]) / f"rival-{task['number']}.log", "w")
        self.process = subprocess.Popen([sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, text=True, env=environment)

    def ask(self, do, **arguments):
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        answer = json.loads(line) if line else {"error": f"the process ended ({self.process.poll()})"}
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def turn(self, calls):
        times = self.ask("time", calls=calls)["ms"]
        self.times.append(statistics.median(times))
        self.least.append(min(times))

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Ours:
    """libcolt5: a process of `colt5 bench` for each turn."""

    def __init__(self, options, kind, which):
        dtype, math = TYPES[kind]
        self.options, self.which, self.times, self.row = options, which, [], None
        self.own, self.least, self.lock = None, [], threading.Lock()
        self.common = ["--dtype", dtype, "--math", math, "--quiet"] + (["--device", options.colt5_device] if options.colt5_device else [])

    def command(self, *arguments):
        done = subprocess.run([self.options.colt5, *arguments, *self.common], capture_output=True, text=True)
        if done.returncode:
            raise Failed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        return done.stdout

    def turn(self, calls):
        backward = ["--backward"] if self.which == "backward" else []
        report = self.command(*self.bench(calls), "--format", "json", "--no-ceilings", *backward)
        self.row = json.loads(report)[0]
        self.times.append(self.row["median_ms"])
        self.least.append(self.row["min_ms"])

    def bench(self, calls):
        folder = self.options.folder
        return ["bench", folder, "--input", f"{folder}/x.npy", "--repeat", str(calls)]

    def results(self, name, routes=None):
        """y.npy, and backward dx.npy, of one run, with these routes or its own, which go to routes.safetensors."""
        out = pathlib.Path(self.options.folder) / name
        out.mkdir()
        folder = self.options.folder
        arguments = ["run", folder, "--input", f"{folder}/x.npy", "--output", str(out / "y.npy")]
        arguments += ["--routes", routes] if routes else ["--routes-output", str(out / "routes.safetensors")]
        if self.which == "backward":
            arguments += ["--grad", f"{folder}/dy.npy", "--grad-output", str(out)]
        self.command(*arguments)
        return out

    def own_results(self):
        with self.lock:
            if not self.own:
                self.own = self.results(f"own-{self.which}-{self.common[1]}-{self.common[3]}")
            return self.own


class OurOp(Ours):
    def __init__(self, options, kind, which, op):
        super().__init__(options, kind, which)
        self.op = op

    def bench(self, calls):
        o = self.options
        return ["bench", "--only", self.op, "--batch", str(o.batch), "--seq", str(o.tokens), "--repeat", str(calls)]


# --- the run ------------------------------------------------------------------------------------------------------------

def make_block(options):
    """The model folder, x.npy and dy.npy that both sides read."""
    sys.path.insert(0, str(HERE.parent / "docs"))
    import torch, from_pytorch
    config = {"type": "transformer_block", "dim": options.dim, "num_heavy_attn_tokens": options.heavy,
              "num_heavy_ff_tokens": options.heavy}
    torch.manual_seed(options.seed)
    folder = pathlib.Path(options.folder)
    from_pytorch.write_json(folder / "config.json", config)
    from_pytorch.write_tensors(folder / "model.safetensors", from_pytorch.build(config).state_dict())
    random = numpy.random.default_rng(options.seed)
    for name in ("x", "dy"):
        numpy.save(folder / f"{name}.npy", random.standard_normal((options.batch, options.tokens, options.dim), numpy.float32))


def say(text):
    print(text, file=sys.stderr, flush=True)


def prepare(worker, ours):
    """Builds a rival and checks it against libcolt5; False where it does not run."""
    task, title = worker.task, title_of(worker)
    start = time.monotonic()
    try:
        worker.about = worker.ask("prepare", task=task)
        if task["rival"] in OPS:
            worker.peak = worker.ask("warm")["peak_bytes"]
            say(f"{title}: ready after {time.monotonic() - start:.0f} s")
            return True
        own = ours.own_results()
        routes = worker.ask("first", routes=str(own / "routes.safetensors"))["routes"]
        out = ours.results(f"check-{task['number']}", routes) if routes else own
        dx = str(out / "dx.npy") if ours.which == "backward" else None
        worker.check = worker.ask("compare", y=str(out / "y.npy"), dx=dx)
        worker.check["same_routes"] = bool(routes) or task["rival"] in ("eager", "triton")
        if routes:
            shutil.rmtree(out)
        worker.peak = worker.ask("warm")["peak_bytes"]
    except Failed as failure:
        worker.failure = str(failure)
        say(f"{title}: {failure}")
        return False
    y = worker.check["y"]
    say(f"{title}: ready after {time.monotonic() - start:.0f} s; error {y['error']:.1e}, of a row {y['row']:.1e}, "
        f"{100 * y['off']:.2g} % of the rows off")
    return True


def tasks_of(options):
    """(pass, type, rival) of the block, then of ops."""
    block = [] if options.only_ops else options.rivals
    number = 0
    for rivals in (block, options.ops):
        for which in options.passes:
            for kind in options.types:
                for rival in rivals:
                    number += 1
                    if (rival, which) != ("select", "backward"):
                        yield {"number": number, "pass": which, "type": kind, "rival": rival, "device": options.device,
                               "folder": options.folder, "batch": options.batch, "tokens": options.tokens}


def key_of(task):
    """Whom a rival is compared with: the block's of this pass and type, or the op's."""
    return (task["pass"], task["type"]) + ((task["rival"],) if task["rival"] in OPS else ())


def our_sides(options):
    keys = dict.fromkeys(key_of(task) for task in tasks_of(options))
    return {key: OurOp(options, key[1], key[0], key[2]) if len(key) == 3 else Ours(options, key[1], key[0]) for key in keys}


def prepare_all(options, sides):
    """Rivals at the same time, but those that measure while they compile one by one at the end."""
    cores = os.cpu_count() or 1
    together = options.at_once or (max(1, min(8, cores // 2)) if options.device == "cuda" else 1)
    workers = [Worker(task, max(1, cores // together)) for task in tasks_of(options)]
    ready = []

    def one(worker):
        if prepare(worker, sides[key_of(worker.task)]):
            ready.append(worker)

    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        list(pool.map(one, [w for w in workers if w.task["rival"] != "autotuned"]))
    for worker in workers:
        if worker.task["rival"] == "autotuned":
            one(worker)
    return workers, [w for w in workers if w in ready]


def idle_share(seconds):
    """Of all CPUs, by Linux' count of their ticks."""
    read = lambda: [int(field) for field in open("/proc/stat").readline().split()[1:9]]
    before = read()
    time.sleep(seconds)
    spent = [b - a for a, b in zip(before, read())]
    return (spent[3] + spent[4]) / max(1, sum(spent))


def settle(options):
    """The last turn's threads go to sleep; on a shared machine, until others leave it alone."""
    time.sleep(options.pause)
    give_up = time.monotonic() + 60
    while options.idle and idle_share(0.5) < options.idle and time.monotonic() < give_up:
        pass


def measure(options, ready, sides):
    """In turn, until the rounds are done or the time is up; the first round is always whole."""
    for round_ in range(options.rounds):
        for key, ours in sides.items():
            if round_ and options.seconds and time.monotonic() - options.start > options.seconds:
                return say(f"out of time in round {round_ + 1}")
            for side in [w for w in ready if key_of(w.task) == key] + [ours]:
                settle(options)
                side.turn(options.calls)
        say(f"round {round_ + 1} of {options.rounds}")


def mib(count):
    return "–" if count is None else f"{count / 2**20:.0f}"


def cell(side, memory):
    if not side.times:
        return "–"
    ms = f"{statistics.median(side.times):.4g} ({min(side.least):.4g}) ms"
    return ms + ("" if memory is None else f", {mib(memory)} MiB")


def ratio(rivals, ours):
    """How many times as fast as the fastest of them; the same of the least times."""
    timed = [w for w in rivals if w.times]
    if not timed or not ours.times:
        return "–"
    median = min(statistics.median(w.times) for w in timed) / statistics.median(ours.times)
    return f"{median:.2f} ({min(min(w.least) for w in timed) / min(ours.least):.2f})"


def table(options, workers, sides):
    find = {(w.task["pass"], w.task["type"], w.task["rival"]): w for w in workers}
    yield f"| block, {options.batch} × {options.tokens} | type | " + " | ".join(options.rivals) + " | libcolt5 | ratio to the best |"
    yield "| --- | --- |" + " --- |" * (len(options.rivals) + 2)
    for (which, kind), ours in ((key, ours) for key, ours in sides.items() if len(key) == 2):
        rivals = [find[which, kind, name] for name in options.rivals]
        title = "forward + backward" if which == "backward" else "forward"
        cells = [cell(w, getattr(w, "peak", None)) for w in rivals] + [cell(ours, ours.row and ours.row["peak_bytes"]), ratio(rivals, ours)]
        yield f"| {title} | {kind} | " + " | ".join(cells) + " |"


def op_table(options, workers, sides):
    yield f"| op, {options.batch} × {options.tokens} | | type | PyTorch | libcolt5 | ratio |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for w in workers:
        if w.task["rival"] in OPS:
            ours = sides[key_of(w.task)]
            cells = (w.task["rival"], w.task["pass"], w.task["type"], cell(w, None), cell(ours, None), ratio([w], ours))
            yield "| " + " | ".join(cells) + " |"


def title_of(worker):
    return " ".join(worker.task[key] for key in ("pass", "type", "rival"))


def notes(workers):
    """What was not measured, and how far the results lie apart."""
    for w in workers:
        title = title_of(w)
        if hasattr(w, "failure"):
            yield f"- {title}: {w.failure}"
            continue
        if w.task["rival"] in OPS:
            continue
        parts = []
        for name in ("y", "dx"):
            if name in w.check:
                c = w.check[name]
                parts.append(f"{name} {c['error']:.1e} (median row {c['row']:.1e}, {100 * c['off']:.2g} % of rows off)")
        yield f"- {title}: {'same' if w.check['same_routes'] else 'own'} routes: " + ", ".join(parts)


def faults(kind, check):
    """What differs by more than rounding and the choice of tokens do."""
    for name in ("y", "dx"):
        if name not in check:
            continue
        error, row, off = (check[name][key] for key in ("error", "row", "off"))
        if name == "y" and check["same_routes"]:
            if not error <= LIMITS[kind]:
                yield f"{name} is {error:.1e} off libcolt5's, more than {LIMITS[kind]:g}"
            continue
        if (name == "y" or check["same_routes"]) and not row <= LIMITS[kind]:
            yield f"{name}'s median row is {row:.1e} off libcolt5's, more than {LIMITS[kind]:g}"
        if not off <= MOST_OFF:
            yield f"{100 * off:.2g} % of {name}'s rows are off libcolt5's, more than {100 * MOST_OFF:g} %"


def record(worker):
    about = {key: worker.task[key] for key in ("pass", "type", "rival")}
    if hasattr(worker, "failure"):
        return about | {"error": worker.failure}
    check = {"check": worker.check} if hasattr(worker, "check") else {}
    return about | {"ms": worker.times, "least_ms": worker.least, "peak_bytes": worker.peak} | check | worker.about


def report(options, workers, sides):
    about = next((w.about for w in workers if hasattr(w, "about")), {})
    print(f"PyTorch {about.get('torch', '?')} on {about.get('device', '?')}; width {options.dim}, {options.heavy} heavy tokens, "
          f"{options.rounds} rounds of {options.calls} calls.\n")
    if not options.only_ops:
        print("\n".join(table(options, workers, sides)) + "\n")
    if options.ops:
        print("\n".join(op_table(options, workers, sides)) + "\n")
    print("\n".join(notes(workers)))
    if options.output:
        rows = [record(w) for w in workers]
        rows += [{"pass": key[0], "type": key[1], "rival": "libcolt5", "ms": ours.times, "least_ms": ours.least, **(ours.row or {})}
                 for key, ours in sides.items()]
        pathlib.Path(options.output).write_text(json.dumps(rows, indent=2) + "\n")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--colt5", default="colt5", help="the program")
    parser.add_argument("--colt5-device", help="its --device")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="PyTorch's")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--heavy", type=int, default=1024)
    parser.add_argument("--types", nargs="+", choices=TYPES)
    parser.add_argument("--rivals", nargs="+", choices=("eager", "triton", "compiled", "expert", "autotuned"))
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    parser.add_argument("--ops", nargs="+", choices=OPS, default=[], help="single ops too")
    parser.add_argument("--only-ops", action="store_true", help="not the block")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds before each turn, in which the last one's threads go to sleep")
    parser.add_argument("--idle", type=float, help="before each turn, wait (a minute at most) until the CPUs are idle by this share")
    parser.add_argument("--seconds", type=float, help="no new round after so long")
    parser.add_argument("--threads", type=int, help="of each side, on a CPU (PyTorch's OpenMP, PoCL)")
    parser.add_argument("--at-once", type=int, help="rivals that are prepared at the same time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="a file for all figures, JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return options
    if not options.device:
        import torch
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.threads:
        os.environ |= {"OMP_NUM_THREADS": str(options.threads), "POCL_MAX_PTHREAD_COUNT": str(options.threads)}
    gpu = options.device == "cuda"
    options.types = options.types or (list(TYPES) if gpu else ["fp32"])
    options.rivals = options.rivals or (["eager", "triton", "compiled", "expert", "autotuned"] if gpu else ["eager", "compiled"])
    return options


def main():
    options = parse()
    if options.serve:
        return serve()
    options.start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="colt5-compare-") as options.folder:
        make_block(options)
        sides = our_sides(options)
        workers, ready = prepare_all(options, sides)
        try:
            say(f"prepared after {time.monotonic() - options.start:.0f} s")
            try:
                measure(options, ready, sides)
            except KeyboardInterrupt:
                say("stopped: what follows is what was measured until then")
            report(options, workers, sides)
        finally:
            for worker in workers:
                worker.close()
    found = [f"{title_of(w)}: {fault}" for w in workers for fault in faults(w.task["type"], getattr(w, "check", {}))]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
