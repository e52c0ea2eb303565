"""Fuzz `read_movielens` on the CSV files of MovieLens 32M and the latest small set."""

from rqvae_lib.datasets.movielens import read_movielens
from tests.datasets.published import ml_csv
from tests.robustness.fuzz.data_files import TEXT, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer(ml_csv()), read_movielens, "", TEXT))
