"""Settings for all tests: property tests draw the same examples in every run, and tiny models get one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads cost more than they save here

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
