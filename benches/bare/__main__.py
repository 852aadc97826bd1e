"""The bare body's times. A MODEL is an image, made with `axiom pack`; docs/performance.md says of which shapes."""

from __future__ import annotations

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.bare", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    start = kinds.add_parser("start", help="to the first byte and the first token")
    start.add_argument("--runs", type=int, default=15)
    compute = kinds.add_parser("compute", help="decode, against the native engine on one thread")
    streaming = kinds.add_parser("streaming", help="a model larger than memory, against its disk")
    streaming.add_argument("--memory-mib", type=int, default=256)
    streaming.add_argument("--budget-mib", type=int, help="most memory for the model")
    balance = kinds.add_parser("balance", help="reading and computing together, against each alone")
    balance.add_argument("--memory-mib", type=int, default=1024)
    balance.add_argument("--budget-mib", type=int, required=True, help="most memory for the model")
    for kind in (streaming, balance):
        kind.add_argument("--attach", default="virtio-pci", choices=["virtio-pci", "virtio-mmio", "nvme"])
    jitter = kinds.add_parser("jitter", help="how even the times of tokens are")
    for kind, n_token in ((compute, 64), (streaming, 16), (balance, 32), (jitter, 1000)):
        kind.add_argument("image", metavar="MODEL.axiom")
        kind.add_argument("--tokens", type=int, default=n_token)
    for kind, pairs in ((compute, 7), (streaming, 3), (balance, 3)):
        kind.add_argument("--pairs", type=int, default=pairs)
    args = parser.parse_args()
    # Imported late: --help needs no engine.
    if args.kind == "start":
        from benches.bare import start as start_bench

        start_bench.main(args.runs)
    elif args.kind == "compute":
        from benches.bare import compute as compute_bench

        compute_bench.main(args.image, args.pairs, args.tokens)
    elif args.kind == "streaming":
        from benches.bare import streaming as streaming_bench

        streaming_bench.main(args.image, args.pairs, args.tokens, args.memory_mib, args.attach, args.budget_mib)
    elif args.kind == "balance":
        from benches.bare import balance as balance_bench

        balance_bench.main(args.image, args.pairs, args.tokens, args.memory_mib, args.attach, args.budget_mib)
    else:
        from benches.bare import jitter as jitter_bench

        jitter_bench.main(args.image, args.tokens)


if __name__ == "__main__":
    main()
