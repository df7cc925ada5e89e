"""How long tests wait for what must happen.

Long enough for a machine that does much else, and shorter than the limit of a test (setup.cfg), so
that one which hangs shows what it waited for, and what its processes printed.
"""

SECONDS = 600
