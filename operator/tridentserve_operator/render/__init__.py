"""From a decision to Kubernetes objects, as dicts: pure, so that a test can hold one in its hand.

`worker` writes pools and revisions, `router` everything else, `template` what their pods have in
common, `labels` what all objects have in common.
"""
