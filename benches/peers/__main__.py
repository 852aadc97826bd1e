"""Command line of the comparison."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from axiom.model_file.gguf_file import GGUFFile
from benches.peers import machine, report
from benches.peers.engines import ENGINES
from benches.peers.measure import Case, compare


def describe_model(path: Path) -> tuple[report.Model, int]:
    """The model as the report names it, and its number of tokens."""
    file = GGUFFile(path)
    formats: dict[str, int] = {}
    for tensor in file.tensors.values():
        formats[tensor.format.name] = formats.get(tensor.format.name, 0) + tensor.n_bytes
    formats = dict(sorted(formats.items(), key=lambda item: -item[1]))
    embedding = file.tensors["token_embd.weight"]
    n_vocab = embedding.shape[0]
    read_per_token = sum(formats.values())
    if "output.weight" in file.tensors:
        read_per_token -= embedding.n_bytes - embedding.n_bytes // n_vocab
    return report.Model(path.name, str(file.metadata["general.architecture"]), formats, read_per_token), n_vocab


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benches.peers", description="Times axiom and other engines in alternation on one GGUF file."
    )
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file; benches.shapes writes some")
    parser.add_argument("--engines", default="axiom,llama.cpp", help=f"the subject first; of {', '.join(ENGINES)}")
    parser.add_argument("--threads", type=_numbers, default=[1, 2], help="numbers of threads (default 1,2)")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each engine per case (default 7)")
    parser.add_argument("--decode", type=_numbers, default=[128], help="tokens per decode run; 0 for none (128)")
    parser.add_argument("--depth", type=_numbers, default=[0], help="prompt tokens before a decode run (0)")
    parser.add_argument("--prefill", type=_numbers, default=[512], help="tokens per prefill run; 0 for none (512)")
    parser.add_argument(
        "--together", type=_numbers, default=[], help="numbers of sequences that decode together (none)"
    )
    parser.add_argument("--busy", action="store_true", help="decode with a busy loop on one of the processors, too")
    parser.add_argument("--kv", choices=("f16", "f32"), default="f16", help="type of the KV cache (f16)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single run to FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    args = parser.parse_args()
    engines = args.engines.split(",")
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown:
        parser.error(f"no engine {', '.join(unknown)}; one of {', '.join(ENGINES)}")
    cases = [Case("decode", n, depth) for n in args.decode if n for depth in args.depth]
    if args.busy:
        cases += [Case(case.kind, case.n_tokens, case.depth, is_busy=True) for case in cases]
    cases += [Case("together", args.decode[0], n_seq=n_seq) for n_seq in args.together if args.decode[0]]
    cases += [Case("prefill", n) for n in args.prefill if n]
    if not cases:
        parser.error("nothing to time: --decode and --prefill are both 0")

    def progress(line: str) -> None:
        if not args.quiet:
            print(line, file=sys.stderr, flush=True)

    model, n_vocab = describe_model(args.model)
    results = []
    for n_threads in args.threads:
        results += compare(
            engines,
            str(args.model),
            cases,
            n_threads=n_threads,
            n_pairs=args.pairs,
            n_vocab=n_vocab,
            kv=args.kv,
            progress=progress,
        )
    print(report.as_markdown(machine.describe(), model, results), end="")
    if args.json:
        args.json.write_text(report.as_json(machine.describe(), model, results) + "\n")


if __name__ == "__main__":
    main()
