"""`make gettext`: a catalogue of messages for each page, by Sphinx's own builder."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT


def test_a_page_and_a_notebook_become_catalogues(tmp_path: Path) -> None:
    """A small book with the real settings, built by the Makefile's own line."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    line = re.search(r"^\t\$\(BIN\)/jupyter-book (build \. .*gettext.*)$", makefile, re.MULTILINE)
    assert line
    book = tmp_path / "source"
    (book / "book").mkdir(parents=True)
    (book / "notebooks").mkdir()
    shutil.copy(ROOT / "_config.yml", book)
    for name in ("_ext", "assets", "_tools"):
        (book / "book" / name).symlink_to(ROOT / "book" / name)
    (book / "book" / "references.bib").touch()
    chapter = "notebooks/05_training_the_rqvae"
    shutil.copy(ROOT / f"{chapter}.ipynb", book / f"{chapter}.ipynb")
    shutil.copy(ROOT / "book" / "execution_times.json", book / "book")
    (book / "_toc.yml").write_text(
        f"format: jb-book\nroot: book/page\nparts:\n  - chapters:\n      - file: {chapter}\n"
    )
    (book / "book" / "page.md").write_text("# A title\n\nA sentence to translate.\n")
    command = [str(Path(sys.executable).with_name("jupyter-book")), *shlex.split(line[1])]
    done = subprocess.run(command, cwd=book, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    catalogues = {path.stem: path.read_text("utf-8") for path in book.rglob("*.pot")}
    assert any('msgid "A sentence to translate."' in text for text in catalogues.values())
    assert any('msgid "Why one loss rises"' in text for text in catalogues.values())
