"""`tridentserve local demo`: the product's main job on this machine, told and checked.

`story` is the order of events. `jobs`, `resources`, `tables`, `sheet` and `promises` are pure: what
is asked for, what is applied, what is shown, and what must hold for the exit status to be 0.
`folders` has what is written where; `monolith` starts `reference`, the only module here that
imports torch, in a process of its own; `watching`, `pictures` and `load` talk to the cluster.
"""
