"""Measures every figure of speed and memory in the documentation.

    python -m benchmarks                 # all of them; writes benchmarks/results/table.md and .json
    python -m benchmarks perceptron cnn  # only these; prints the table
    python -m benchmarks --quick         # tiny data: checks that the programs run

A benchmark in `cases` has several sides: ours and its peers. Each side is a process that stays
alive; the sides take turns, one round each (A B A B ...), so that other load on the machine affects
all of them alike. Clocks run inside the sides, around the work only. The first two rounds are a
warm-up and do not count, unless each round has a new process.

Searches have two commands of their own, which write their results beside that table:

    python -m benchmarks.search_throughput  # against keras_tuner.RandomSearch; overhead, memory
    python -m benchmarks.search_quality     # regret against keras-tuner's own driver; ask times

Another measures how often a diagnosis names the fault of a training:

    python -m benchmarks.diagnosis

PyTorch and Lightning are compared if they are installed: `pip install -e ".[bench]"`.
"""
