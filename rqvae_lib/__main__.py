"""`python -m rqvae_lib`: the command line, where the script `rqvae-lib` is not on the path."""

from rqvae_lib.cli.main import main

if __name__ == "__main__":
    main()
