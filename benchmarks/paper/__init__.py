"""The paper's table and ours: every policy in one simulator, with seeds, intervals and bounds.

    PYTHONPATH=benchmarks python -m paper --help

| module | |
| --- | --- |
| `cells`, `contenders`, `policies`, `declared_cells`, `grid` | what is declared, in its order |
| `published`, `replay`, `search`, `validity` | the fit to the authors' table, in few runs |
| `halving` | who speaks for the opponent's family |
| `jobs`, `bounds` | what no policy can be better than |
| `outcomes`, `runner` | one run to one small record, kept in a file; stop and go on at any time |
| `records`, `statistics`, `answers`, `targets`, `capacity` | pure functions of the records |
| `tables`, `validity_tables`, `words`, `plots`, `shown`, `report` | `docs/science.md` |

`measured.jsonl` holds the records: hours of work that no test could make again.
"""
