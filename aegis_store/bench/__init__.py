"""The benchmarks that `aegis bench` runs on the user's own disk: a workload a file, rivals beside it.

A figure counts when it is a ratio to (or a difference from) a peer that did the same work in the same run, with the
durability mode said. So sides take turns round by round, and a round is compared with the same round of the other side only.
A peer that is not installed is named with what installs it, and left out.
"""
