from hypothesis import HealthCheck, settings

# The same examples on every run, without a deadline: the machine may be busy. To look for more:
# `pytest tests/properties --hypothesis-profile=search`.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "search", parent=settings.get_profile("repeatable"), derandomize=False, max_examples=5000
)
settings.load_profile("repeatable")
