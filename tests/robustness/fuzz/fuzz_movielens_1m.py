"""Fuzz `read_movielens` on the files of MovieLens 1M."""

from rqvae_lib.datasets.movielens import read_movielens
from tests.datasets.published import ml_1m
from tests.robustness.fuzz.data_files import TEXT, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer(ml_1m()), read_movielens, "", TEXT))
