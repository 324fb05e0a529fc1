"""Print what a MATE-KD step takes: the product's beside the published form, in one run.

Not part of the test suite: `python tests/benchmarks/bench_step.py`. Both forms get the same networks, rows, masks and
seeds. Their losses are compared first, under the same noise and without dropout, in float32; then each is timed with
dropout, after a warm-up, and the product over several batches of different lengths.

The share of the machine's own rate is: matrix products that the step needs (pads and states that nobody reads are not
counted), a second of the whole step, over the rate of large square products of the same number type, the best of those
measured before and after.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from setting import Setting, machine, product_rate, seconds, setting
from step_forms import CONFIG, Form, Product, Published, Work, difference

from limbeck.memory import few_kernels, keep_freed
from limbeck.methods.base import STUDENT
from limbeck.methods.mate import GENERATOR

PHASES = (STUDENT, GENERATOR)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WARM_UP = 2


def timed(form: Form, phase: str, steps: range, repeats: int, device: torch.device) -> float:
    """Seconds a step: the mean over batches of the best of the repeats, between which lies a whole round."""
    rounds = [[seconds(partial(form.step, number, phase), device) for number in steps] for _ in range(repeats)]
    return mean([min(times) for times in zip(*rounds, strict=True)])


def mean(values: list[float]) -> float:
    """The mean."""
    return sum(values) / len(values)


def product_times(bench: Setting, precision: str, options: argparse.Namespace) -> dict[str, float]:
    """Time the product in one precision: mean seconds a step by phase."""
    device, form = bench.reader.device, Product(bench, precision)
    found = {}
    for phase in PHASES:
        timed(form, phase, range(WARM_UP), 1, device)
        found[phase] = timed(form, phase, steps_of(options), options.repeats, device)
    return found


def product_lines(
    precision: str, found: Mapping[str, float], work: Mapping[str, float], tokens: float, rate: float
) -> None:
    """Print what the product takes in one precision, tokens of the batches' own text, share of the machine's rate."""
    for phase, taken in found.items():
        flops = work[phase] / taken
        shown = f"{taken:>9.3f} s{tokens / taken:>9,.0f} tokens/s{flops / 1e9:>9,.0f} GFLOP/s{flops / rate:>8.0%}"
        print(f"{phase:<10} product {precision:<10}{shown}")


def steps_of(options: argparse.Namespace) -> range:
    """The batches that the product is timed on."""
    return range(WARM_UP, WARM_UP + options.steps)


def cycle(found: Mapping[str, float]) -> float:
    """Mean seconds a step over a whole cycle of the method."""
    parts = CONFIG.generator_steps * found[GENERATOR] + CONFIG.student_steps * found[STUDENT]
    return parts / (CONFIG.generator_steps + CONFIG.student_steps)


def facts(bench: Setting, steps: range) -> float:
    """Print what is measured; return the tokens of a batch, without pads."""
    tokens = [bench.reader.split.lengths[bench.order.batch(number)] for number in steps]
    real, width = mean([float(t.mean()) for t in tokens]), mean([float(t.max()) for t in tokens])
    rows = len(tokens[0])
    print(f"{machine(bench.reader.device)}; batches of {rows} film-review sentences of {real:.1f} tokens on average,")
    steps_each = f"{CONFIG.generator_steps} generator steps to {CONFIG.student_steps} of the student"
    print(f"padded to {width:.1f} by the product and to 128 as published; mask rate {CONFIG.mask_rate}, {steps_each}")
    return rows * real


def rates(precisions: Sequence[str], device: torch.device) -> dict[str, float]:
    """Measure and print the machine's own rate in each number type."""
    found = {precision: product_rate(DTYPES[precision], device) for precision in precisions}
    print(", ".join(f"large products in {p}: {r / 1e9:.0f} GFLOP/s" for p, r in found.items()))
    return found


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    # As in a trial. The published form has one shape of batch, and needs no more.
    few_kernels()
    device = torch.device(options.device)
    bench, steps = setting(device, options.batch), steps_of(options)
    tokens = facts(bench, steps)
    if options.published:
        apart = {phase: max(difference(bench, k, phase) for k in range(options.compared)) for phase in PHASES}
        print("largest relative difference of losses:", ", ".join(f"{p} {d:.1e}" for p, d in apart.items()), "\n")
    counted = [Work.of(bench, number) for number in steps]
    work = {phase: mean([getattr(each, phase) for each in counted]) for phase in PHASES}
    before = rates(options.precisions, device)
    print(", ".join(f"{phase} step needs {flop / 1e9:.0f} GFLOP" for phase, flop in work.items()), "\n")
    theirs = {}
    for precision in options.precisions if options.published else ():
        form, theirs[precision] = Published(bench, precision), {}
        for phase in PHASES:
            # Every batch is padded to the same size, so repeats of one are enough.
            theirs[precision][phase] = timed(form, phase, range(1), 1 + options.published, device)
            print(f"{phase:<10} published {precision:<8}{theirs[precision][phase]:>9.3f} s")
    # Which memory habits a process has is part of the product's form, so the published one comes first.
    keep_freed()
    ours = {p: product_times(bench, p, options) for p in options.precisions}
    after = rates(options.precisions, device)
    for precision, found in ours.items():
        product_lines(precision, found, work, tokens, max(before[precision], after[precision]))
    print()
    for base in theirs:
        for precision in options.precisions:
            ratios = [f"{phase} {theirs[base][phase] / ours[precision][phase]:.1f}" for phase in PHASES]
            whole = cycle(theirs[base]) / cycle(ours[precision])
            print(f"published {base} / product {precision}: {', '.join(ratios)}, whole cycle {whole:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="steps of the product to time, each phase")
    parser.add_argument("--repeats", type=int, default=2, help="rounds over them, of which the best time counts")
    parser.add_argument("--published", type=int, default=1, help="steps of the published form beside a first; 0: none")
    parser.add_argument("--compared", type=int, default=2, help="batches to compare losses on")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precisions", nargs="+", choices=sorted(DTYPES), default=["fp32", "bf16"])
    parser.add_argument("--device", default="cpu")
    main(parser.parse_args())
