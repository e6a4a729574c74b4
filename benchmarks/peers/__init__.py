"""The alternatives to the offload: one program per route, each in its own environment.

They follow their documentation and contain no code of the offload. A program reads its request from the environment
variable BENCH_REQUEST (`benchmarks.peers.request`). With the argument `prepare`, it creates what must exist before the
measurement.
"""
