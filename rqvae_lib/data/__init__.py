"""The data that ships with the library, one folder a dataset; `make.py` is how it was made."""
