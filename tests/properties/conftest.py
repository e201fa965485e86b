"""How hard hypothesis looks: everywhere the same examples in CI, new ones at a desk."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "bounded",
    max_examples=150,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    # Fixtures of a gateway in front of an upstream are shared by all examples on purpose.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("bounded")
