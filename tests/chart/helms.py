"""The Helms that the chart is for: tests of what they may differ in run with each."""

from __future__ import annotations

import pytest
from support.chart import HELM_VERSION, OLDEST_HELM_VERSION

each_helm = pytest.mark.parametrize("helm", [HELM_VERSION, OLDEST_HELM_VERSION], indirect=True)
oldest_helm = pytest.mark.parametrize("helm", [OLDEST_HELM_VERSION], indirect=True)
