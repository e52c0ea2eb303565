"""Fuzz `movielens.read_movielens` on the CSV files of MovieLens 32M and the latest small set."""

from data_files import TEXT, writer
from harness import Target, main

from published import ml_csv
from rqvae_lib.movielens import read_movielens

if __name__ == "__main__":
    main(Target(writer(ml_csv()), read_movielens, "", TEXT))
