"""Fuzz `read_movielens` on the files of MovieLens 100K."""

from rqvae_lib.datasets.movielens import read_movielens
from tests.datasets.published import ml_100k
from tests.robustness.fuzz.data_files import TEXT, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer(ml_100k()), read_movielens, "", TEXT))
