"""What the report says whatever the figures: inputs and their origin, method, limits."""

INPUTS = """\
| input | value | whose |
| --- | --- | --- |
| diffusion seconds by class and degree | tables of the scheduler of PKU-DAIR/Hetu-DiT (f3b8327), L20 | the authors' |
| one cell of these (768x432x33 on 2) | 1.32 s in place of a copied 0.75 s | ours, by interpolation |
| cluster | 16 nodes of 8 devices, 48 GB each; groups within a node | the authors' |
| classes, regular arrivals, 1.5 requests/s (CogVideoX) | public traces | the authors' |
| steps: CogVideoX 6, SD3 20 | results table | the authors' |
| steps: FLUX 28; HunyuanVideo 6 | trace; in place of 50, which 128 devices cannot serve | the authors'; ours |
| SD3's classes alike, rates 20, 25, 29 requests/s | its trace is lost | ours |
| encode and decode seconds, peak memory of all stages | named assumptions in the profile files | ours |
| slow-down of all run times | fitted below | ours |
| Poisson and Gamma arrivals, mixes, loads, wrong profiles | declared in `declared_cells.py` | ours |
| five phases | GF-DiT's profile, which imitates the paper's | others' |
| deadlines 4.4x + 2 s | the authors' code | the authors' |
| deadlines 1.5x, 2.5x | 2.5x is reported by a third party, 1.5x is a tight one | ours |
| rules of placement and dispatch of the opponent | public notes on the paper; open points are a family | ours, after theirs |
| noise 5 %, hand-off, groups, loading of weights, cost of decisions | `sim/scenario/`, `sim/experiment.py` | ours |
"""  # noqa: E501 - a table

METHOD = """\
Every policy meets the same arrivals, the same luck in every stage of every request, the same ticks,
the same corrections of its cost model and the same charges for moving about; only decisions of a
solver are charged more than those of a loop. Deadlines come from the profile before anything
corrects it. Load 1 is the least device-seconds that the requests can take, for every device.
Refused, failed and unfinished requests are misses, and count in latencies as if they had ended at
the end of the run. The replicate is the seed: intervals are Student's t over seeds at 95 %,
comparisons are paired by seed, and p-values are corrected for the number of cells (Holm). Cells are
held out of tuning by a hash of their names (`cells.py`).

There are two scales, and no table mixes them. *Small*: 32 devices in nodes of eight at the same
load, twenty minutes of arrivals, the first 5 minutes not counted, one hour to finish. *Published
size*: 128 devices, two hours, the first 10 minutes not counted. A seed is a replicate in both, so
that 20 seeds say as much of the one as of the other; but four nodes hold a whole free node less
often than sixteen, and a queue that grows without end has grown less after twenty minutes.

Weights move and pods do not, for every policy (`placement.start: Residency`), as in the paper's
system; what this project deploys today starts pods.

The bounds (`bounds.py`): *mean* is the larger of serving every request alone at its fastest degree,
and shortest remaining first on one divisible machine as fast as all devices; *attainment* is what
is feasible on that machine when all is known beforehand and parts of requests count; *P95* is the
least common deadline that 95 % can meet there, and no less than without a queue. They leave out
devices, nodes, the order of stages and every overhead, so nobody reaches them.
"""

QUESTIONS = {
    "validity": "Does the simulator reproduce the published results, and in which worlds?",
    "family": "Which reading of the paper is the strongest opponent?",
    "prediction": "Do worlds that fit CogVideoX predict Stable Diffusion 3?",
}

SHARES = """\
In the order in which it is made: every question is asked at 20 seeds in its first cell before the
next cell is begun. All of it takes some eight hours of one processor, what stands above the
published size some two. Runs of `validity` and `family` that the search excludes are never made, so
that these two are done below 100 %.
"""

OPPONENT = """\
The paper leaves open how requests age (a), how efficient a degree must be (e), how often the
program is solved (w), what its estimate covers, and what late is worth. These are a family of
policies; the member that does best on tuning cells, by attainment and then by mean latency, is
whom everything is compared with.
"""

COMPARED = """\
Theirs → ours, and the change with its 95 % interval over paired seeds: a difference for shares, a
ratio for seconds. **Bold** is certain: 20 seeds, and p at most 0.05 after the correction for the
number of cells in the table.
"""

TARGETS = """\
Those of the project, against the opponent and the bounds of the same seeds. *Met* is by the means;
*certain* has 20 seeds and a difference to the opponent that is no chance.
"""

CAPACITY = """\
The load up to which 99 % are on time and no class falls below 95 %, to be 1.15 times theirs; groups
of cells that were run at all five loads.
"""

AGAINST = """\
Less or more than `{ours}`, over the cells and seeds that both have run.
"""

FAMILY = """\
On tuning cells of the profile's own world, with seeds of their own.
"""

BESIDE = (
    ("Static degrees and earliest deadline first", "rivals"),
    ("Placement or dispatch", "factorial"),
    ("Mechanisms, one removed at a time", "ablations"),
    ("Everybody else", "baselines"),
)
"""Titles and sections of those that are compared with ours."""

LIMITS = """\
- Everything here is simulated. It says how policies compare under one set of assumptions, not what
  a cluster would measure; seconds of the paper's table are compared with in the validity fit only.
- The opponent is rebuilt from public notes. Where the notes are silent it is a family, and the
  member that does best on the tuning cells speaks for it.
- FLUX and HunyuanVideo out of memory on whole pipelines follows from assumed peaks, and proves
  nothing.
- Capacity is read off five loads by straight lines.
- No batches: one request a call, for every policy.
- Every other dispatch policy is run with its usual settings, and not at its best ones.
"""
