"""Benchmarks: one file a promise, rivals beside it, results/*.json.

Every figure is a ratio to (or a difference from) a peer that did the same work in the same run, with the durability said. The
installed package is what is measured. `python -m bench --help` lists what there is.
"""
