"""Axiom beside other engines on the same file: decode and prefill, timed in alternation, reported as ratios.

`engines` holds one small class per engine, `worker` a process that keeps one engine warm, `measure` the order of the
runs and what is recorded of them, `machine` the facts about the machine, `report` the tables. The method and its
reasons are in docs/performance.md.

    python -m benches.peers --model model.gguf --threads 1,2 --pairs 7
"""
