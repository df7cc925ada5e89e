"""Every figure of speed and memory that the README claims, measured.

    python -m benchmarks                 # all of them; writes benchmarks/results/table.md and .json
    python -m benchmarks perceptron cnn  # these only; prints the table
    python -m benchmarks --quick         # tiny data: whether the programs run, not what they cost

A benchmark in `cases` names its sides: ours, its peers, and what is compared. Each side is a
process of its own that stays alive; the sides take turns, one round each, A B A B ..., so that
whatever else the machine does meets all of them alike. Clocks run inside the sides, around the
work alone. The first two rounds warm up and do not count, except where each has a new process.

Searches have two commands of their own, which write beside that table:

    python -m benchmarks.search_throughput  # against keras_tuner.RandomSearch; overhead, memory
    python -m benchmarks.search_quality     # regret against keras-tuner's own driver; ask times

PyTorch and Lightning are compared where they are installed: `pip install -e ".[bench]"`.
"""
