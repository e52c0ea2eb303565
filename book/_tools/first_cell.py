# Nothing happens here where the book is installed. On a machine that is lent
# for a session, such as Colab's, this fetches the book and installs its library.
import os
import subprocess
import sys
from importlib.util import find_spec

REPOSITORY = ""
BRANCH = "main"
CLONE = "semantic-ids-from-scratch"

if find_spec("rqvae_lib") is None:
    if not REPOSITORY:
        raise ModuleNotFoundError(
            "rqvae_lib is not installed, and this copy of the book names no public"
            " address to fetch it from. Run the notebook from a folder of the book:"
            " `make lab` there does it, or `pip install '.[notebooks]'`."
        )
    if not os.path.isdir(CLONE):
        git = ["git", "clone", "--depth=1", f"--branch={BRANCH}"]
        subprocess.run([*git, REPOSITORY, CLONE], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"./{CLONE}[notebooks]"], check=True)
if os.path.isdir(f"{CLONE}/notebooks"):  # where the tables in results/ are
    os.chdir(f"{CLONE}/notebooks")
