"""What a run of a sweep can choose between; a file of its own, so that the help of the command loads nothing else."""

__all__ = ["BACKENDS", "FORMATS"]

BACKENDS = ("joblib", "ray")  # what computes the replicates: processes on this computer, or a Ray cluster
FORMATS = ("csv", "parquet")  # of the tables
