"""Where work on many pieces is done, by name. Nothing heavy is imported here.

Used by: the work on pieces, the command line.
"""

from typing import Literal

Engine = Literal["process", "ray"]
