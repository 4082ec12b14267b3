"""Profiles of hypothesis: the same examples in every run, a tenth of them, or new ones.

TensorFlow and JAX compile for every new shape, which takes most of the time. So they run a
tenth. `tox run -e fuzz -- --hypothesis-profile explore` draws new examples, and more of them.
"""

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,  # The first example compiles.
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    "print_blob": True,
}
settings.register_profile("fixed", derandomize=True, database=None, **COMMON)
settings.register_profile("tenth", settings.get_profile("fixed"), max_examples=10)
settings.register_profile("explore", max_examples=400, **COMMON)
settings.load_profile("fixed")
