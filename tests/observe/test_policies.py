"""Every policy that the documentation advises is tried with a collector: see test_jaeger.py."""

from __future__ import annotations

from observe.policies import KEPT, SHARE, documented


def test_every_policy_of_the_documentation_is_tried() -> None:
    assert set(documented()[1]) == {*KEPT, SHARE}
