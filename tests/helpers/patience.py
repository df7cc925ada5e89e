"""How long tests wait for what must happen, in seconds.

Long enough for a machine that does much else. Shorter than the 600 s that children of the tests
sleep: one that ends by itself must not pass for one that was ended.
"""

SECONDS = 300
GONE = 60  # until a process has ended that was told to
