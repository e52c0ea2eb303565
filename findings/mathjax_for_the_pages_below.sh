#!/usr/bin/env bash
# Sphinx 7.4.7: a page without a formula loads MathJax if a page below it in the table of contents has one.
#
# A book whose MathJax lies beside its pages, so that it works offline, pays for it with two megabytes a page.
# Common wrong guess: mathjax_path is loaded where there is math, which is what html_math_renderer's documentation of
# "only on pages that contain a math directive or role" suggests.
# What happens: the question is asked of the page and of all that its toctree leads to. So the start page, which leads
# to everything, loads it although it shows no formula; a leaf without one does not. Whoever counts the bytes of the
# first page takes the script out of it in a handler of html-page-context.
#
# Seen with Sphinx 7.4.7 on Python 3.11:
#   index (no formula, leads to both): loads MathJax True; formula: True; plain: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "sphinx==7.4.7"
mkdir "$folder/source"
cd "$folder/source"
cat > conf.py <<'PY'
extensions = ["sphinx.ext.mathjax"]
PY
printf 'Start\n=====\n\n.. toctree::\n\n   formula\n   plain\n' > index.rst
printf 'Formula\n=======\n\n:math:`x^2`\n' > formula.rst
printf 'Plain\n=====\n\nNothing to see.\n' > plain.rst
"$folder/venv/bin/sphinx-build" -q -b html . "$folder/html"
loads() { grep -qi 'mathjax' "$folder/html/$1.html" && echo True || echo False; }
echo "Sphinx $("$folder/venv/bin/python" -c 'import sphinx; print(sphinx.__version__)')"
echo "index (no formula, leads to both): loads MathJax $(loads index); formula: $(loads formula); plain: $(loads plain)"
[[ "$(loads index) $(loads formula) $(loads plain)" == "True True False" ]] || { echo "this has changed"; exit 1; }
