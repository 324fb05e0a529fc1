"""Print how long `limbeck serve` lets its callers wait, and that it loses none of them, whatever others send.

Not part of the test suite: `python tests/benchmarks/bench_serve.py [--model DIR] [--requests N] [--rate R]`. The
server is started as a user starts it. A client in a process of its own sends one film review a request at a steady
rate, whether answers come or not: a request's time counts from the moment it was due. It does so twice, the second time
while another process sends what should be refused. The exit status is 1 when a good request was lost or a bad one was
not refused.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ready_models import review_texts, write_form, write_student

MODEL_LAYERS = 2
_WARM_UP_REQUESTS = 400
_CALLERS = Path(__file__).with_name("callers.py")


@contextmanager
def server(model: Path, extra: list[str]) -> Iterator[tuple[str, int]]:
    """The address of a server that answers, and the number of its process."""
    command = [sys.executable, "-m", "limbeck.cli", "serve", str(model), *extra]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = next((line for line in process.stderr if "http://" in line), "it ended")
        found = re.search(r"http://[\w.:]+", said)
        assert found, said
        yield found.group(), process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, "the server did not end well"
    finally:
        process.kill()
        process.wait()


def processor_seconds(root: int) -> Counter[str]:
    """Seconds of processor time that a process and its descendants have had, by their names."""
    tick = 100.0
    parents, names, spent = {}, {}, {}
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        try:
            name, _, rest = (path / "stat").read_text().partition("(")[2].rpartition(")")
            command = (path / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        fields = rest.split()
        pid = int(path.name)
        parents[pid], spent[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / tick
        names[pid] = command.split(".")[0] if command.startswith("ray::") else Path(command).name or name
    found: Counter[str] = Counter()
    for pid in parents:
        above = pid
        while above in parents and above != root:
            above = parents[above]
        if above == root:
            found["the command" if pid == root else names[pid]] += spent[pid]
    return found


def caller(role: str, url: str, **settings: Any) -> "subprocess.Popen[str]":
    """Start a process that calls the server; it prints what it found."""
    asked = json.dumps({"role": role, "url": url, **settings})
    return subprocess.Popen([sys.executable, str(_CALLERS), asked], stdout=subprocess.PIPE, text=True)


def found_by(process: "subprocess.Popen[str]") -> Any:
    """Wait for a caller and return what it found."""
    out, _ = process.communicate()
    assert process.returncode == 0, "a caller failed"
    return json.loads(out)


def show(title: str, good: dict[str, Any], spent: Counter[str], requests: int) -> None:
    """Print one part."""
    times = "  ".join(f"{name} {good[name]:.1f}" for name in ("p50", "p95", "p99", "max"))
    print(f"{title}: {good['answered']:,} of {requests:,} answered, {good['lost']} lost; ms: {times}")
    print(f"  sent at {good['rate']:.1f} a second; the latest was sent {good['late_ms']:.1f} ms after it was due")
    if good["trouble"]:
        print(f"  trouble: {good['trouble']}")
    listed = ", ".join(f"{name} {1000 * one / requests:.2f}" for name, one in spent.most_common(6) if one)
    print(f"  processor ms a request: {listed}; the client {1000 * good['processor_seconds'] / requests:.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an export (default: a student of 2 layers in eight bits)")
    parser.add_argument("--requests", type=int, default=10_000, help="of each part")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--serve", default="", help="more arguments of `limbeck serve`, parted by blanks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = options.model
        if model is None:
            student = write_student(Path(scratch) / "student", MODEL_LAYERS)
            model = write_form("onnx-int8", student, Path(scratch) / "model")
        texts = Path(scratch) / "texts.json"
        texts.write_text(json.dumps(review_texts()))
        with server(model, options.serve.split()) as (url, pid):
            return report(url, pid, texts, options)


def report(url: str, pid: int, texts: Path, options: argparse.Namespace) -> int:
    """Measure and print; 1 where something was lost, or not refused."""
    settings = {"texts": str(texts), "rate": options.rate}
    found_by(caller("good", url, requests=_WARM_UP_REQUESTS, **settings))
    lost = 0
    refusals: dict[str, dict[str, int]] = {}
    for title in ("alone", "with bad requests"):
        bad = caller("bad", url, seconds=options.requests / options.rate) if title != "alone" else None
        before = processor_seconds(pid)
        good = found_by(caller("good", url, requests=options.requests, **settings))
        spent = processor_seconds(pid) - before
        refusals = found_by(bad) if bad else {}
        show(title, good, spent, options.requests)
        lost += good["lost"]
    accepted = 0
    for kind, answers in sorted(refusals.items()):
        print(f"  {kind:36}{', '.join(f'{many} × {answer}' for answer, many in sorted(answers.items()))}")
        accepted += sum(many for answer, many in answers.items() if not answer.startswith("4"))
    print(f"{lost} lost, {accepted} not refused")
    return 1 if lost or accepted else 0


if __name__ == "__main__":
    sys.exit(main())
