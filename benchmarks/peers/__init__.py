"""What a user would pick instead of the offload: one program per route, each run in an environment of its own.

They are written as their documentation recommends, without a line of the offload's. A program is given its order by the environment
variable BENCH_REQUEST (`benchmarks.peers.request`), and with the argument `prepare` makes what has to be there before it is measured.
"""
