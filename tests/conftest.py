"""Settings of the whole suite."""

from hypothesis import settings

# The same examples every time: a red test means that the change broke it.
# Search wider with --hypothesis-profile=default.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
