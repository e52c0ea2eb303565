"""Fuzz `movielens.read_movielens` on the files of MovieLens 100K."""

from data_files import TEXT, writer
from harness import Target, main

from published import ml_100k
from rqvae_lib.movielens import read_movielens

if __name__ == "__main__":
    main(Target(writer(ml_100k()), read_movielens, "", TEXT))
