"""The paper's table and ours: every policy in one simulator, with seeds, intervals and bounds.

    PYTHONPATH=benchmarks python -m paper --help

| module | |
| --- | --- |
| `cells`, `contenders`, `grid` | what is declared: scenarios, policies with settings, all runs |
| `jobs`, `bounds` | what no policy can be better than |
| `outcomes`, `runner` | one run to one small record, kept in a file; stop and go on at any time |
| `statistics`, `choosing`, `validity`, `targets` | pure functions of the records |
| `tables`, `plots`, `report` | `docs/science.md` and its pictures |
"""
