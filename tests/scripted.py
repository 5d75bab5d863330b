"""Workers whose task times are written down, for timelines drawn by hand.

The model is F(w) = w^2 / 2 from w = 1 with step 1/2 and no noise, so a gradient taken at w moves the parameters by
-w / 2, and all numbers are exact in binary.
"""

from itertools import chain, repeat

from simulations.fleets import Times
from simulations.problems import NoisyQuadratic
from simulations.server import Run, RunBudget, Server, drive

QUADRATIC = NoisyQuadratic((1.0,), sigma2=0.0)


class Scripted:
    """Workers whose steps take these seconds one after the other, then 100 s each."""

    def __init__(self, *rows):
        self.rows, self.n = rows, len(rows)

    def times(self, seed, replicate):
        def steps(row):
            following = chain(row, repeat(100.0))
            return lambda time, version: next(following)

        return [Times(steps(row)) for row in self.rows]


def server_of(protocol, *times, num_updates, problem=QUADRATIC, step_size=0.5, local_steps=1, update_seconds=0.0):
    """A server of workers with these task times."""
    run = Run(
        protocol=protocol, problem=problem, fleet=Scripted(*times), step_size=step_size, local_steps=local_steps,
        seed=0, budget=RunBudget(num_updates=num_updates), keep_tasks=True, update_seconds=update_seconds,
    )  # fmt: skip
    return Server(run)


def play(protocol, *times, num_updates, **options):
    """Run with the given task times of each worker; return (rows, final w, task log)."""
    server = server_of(protocol, *times, num_updates=num_updates, **options)
    table = drive(server)
    return table, server.params[0], list(map(tuple, server.books.tasks))


def check(table, **columns):
    for name, expected in columns.items():
        assert table[name].tolist() == expected, name
