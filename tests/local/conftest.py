"""What the tests of the local cluster share."""

import pytest

from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing_pods import Pods


@pytest.fixture
def pods(local_cluster: LocalCluster, namespace: str) -> Pods:
    """Pods of this test's own namespace."""
    return Pods(local_cluster, namespace)
