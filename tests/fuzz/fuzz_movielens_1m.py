"""Fuzz `movielens.read_movielens` on the files of MovieLens 1M."""

from data_files import TEXT, writer
from harness import Target, main

from published import ml_1m
from rqvae_lib.movielens import read_movielens

if __name__ == "__main__":
    main(Target(writer(ml_1m()), read_movielens, "", TEXT))
