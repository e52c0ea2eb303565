"""Write book/_ext/inventories/*.inv: where other projects document the names that we mention.

    python book/_tools/inventories.py

A project's own inventory has thousands of names and lies on its server; a book that builds without
a network needs the few that its reference pages mention. Each line below is a name as Sphinx meets
it in a signature of ours, the page that describes it, and, where Sphinx meets a private name, the
public one that stands on that page. A new type in a signature fails `make book`; it gets a line.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "_ext" / "inventories"


class Name(NamedTuple):
    met: str  # in our signatures, as Python prints it
    page: str  # below the project's address, which stands in _config.yml; {} is the public name
    public: str = ""  # what the page calls it, where that differs
    role: str = "class"


PROJECTS = {
    "python": [
        Name("pathlib.Path", "library/pathlib.html"),
        Name("_io.BufferedReader", "library/io.html", "io.BufferedReader"),
        Name("rqvae_lib.io.json_configs.T", "library/typing.html", "typing.TypeVar"),
        Name("datetime.timedelta", "library/datetime.html"),
        Name("rqvae_lib.ops.pieces.Piece", "library/typing.html", "typing.TypeVar"),
        Name("rqvae_lib.ops.world.T", "library/typing.html", "typing.TypeVar"),
        Name("rqvae_lib.models.derived.Result", "library/typing.html", "typing.TypeVar"),
        Name("rqvae_lib.ops.torch_settings.Function", "library/typing.html", "typing.TypeVar"),
        *(
            Name(f"collections.abc.{name}", "library/collections.abc.html")
            for name in (
                "Callable",
                "Collection",
                "Generator",
                "Iterable",
                "Iterator",
                "Mapping",
                "Sequence",
            )
        ),
        *(
            Name(name, "library/exceptions.html", role="exception")
            for name in ("FloatingPointError", "ImportError", "OSError", "ValueError")
        ),
    ],
    "torch": [
        Name("torch.Tensor", "tensors.html"),
        Name("torch.device", "tensor_attributes.html"),
        Name("torch.dtype", "tensor_attributes.html"),
        Name("torch._C.Generator", "generated/{}.html", "torch.Generator"),
        Name("torch.nn.modules.module.Module", "generated/{}.html", "torch.nn.Module"),
        Name("torch.nn.modules.container.Sequential", "generated/{}.html", "torch.nn.Sequential"),
        Name("torch.nn.modules.dropout.Dropout", "generated/{}.html", "torch.nn.Dropout"),
        Name("torch.nn.modules.normalization.LayerNorm", "generated/{}.html", "torch.nn.LayerNorm"),
        Name("torch.optim.optimizer.Optimizer", "optim.html", "torch.optim.Optimizer"),
    ],
    "numpy": [
        Name("numpy.ndarray", "reference/generated/{}.html"),
        Name("numpy.dtype", "reference/generated/{}.html"),
        *(
            Name(f"numpy.{name}", "reference/arrays.scalars.html")
            for name in ("bool", "int32", "int64", "integer", "unsignedinteger", "float64")
        ),
    ],
    "pandas": [
        Name("pandas.DataFrame", "reference/api/{}.html"),
        Name("pandas.Index", "reference/api/{}.html"),
        Name("pandas.Series", "reference/api/{}.html"),
    ],
    "scipy": [
        Name(
            "scipy.sparse._csr.csr_array", "reference/generated/{}.html", "scipy.sparse.csr_array"
        ),
        Name("sparse.csr_array", "reference/generated/{}.html", "scipy.sparse.csr_array"),
    ],
    "pyarrow": [
        *(
            Name(f"pyarrow.lib.{name}", "python/generated/{}.html", f"pyarrow.{name}")
            for name in ("Array", "ChunkedArray", "DataType", "Table")
        ),
        Name(
            "pyarrow.parquet.core.ParquetFile",
            "python/generated/{}.html",
            "pyarrow.parquet.ParquetFile",
        ),
    ],
    "tqdm": [Name("tqdm", "docs/tqdm/", "tqdm.tqdm")],
    "typer": [Name("typer.models.Context", "reference/context/", "typer.Context")],
    "matplotlib": [
        Name("Axes", "api/_as_gen/{}.html", "matplotlib.axes.Axes"),
        Name("Figure", "api/_as_gen/{}.html", "matplotlib.figure.Figure"),
        Name("Line2D", "api/_as_gen/{}.html", "matplotlib.lines.Line2D"),
    ],
}


def inventory(project: str) -> bytes:
    """Return a project's inventory in Sphinx's format, version 2."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = []
    for name in PROJECTS[project]:
        public = name.public or name.met
        # "-": a signature goes on showing the short name.
        lines.append(f"{name.met} py:{name.role} 1 {name.page.format(public)}#{public} -\n")
    return head.encode() + zlib.compress("".join(lines).encode())


if __name__ == "__main__":
    for project in PROJECTS:
        (FOLDER / f"{project}.inv").write_bytes(inventory(project))
