#!/usr/bin/env bash
# Ray 2.60: an error in a function that Ray Data maps arrives as another type; in a plain task it keeps its own.
#
# A function checks its rows and raises ValueError. The program around it catches ValueError and tells the user which row
# is wrong.
# Common wrong guess: Ray raises the worker's exception where the result is asked for, so `except ValueError` catches it.
# What happens: that is so for a task and ray.get, whose error is made on the spot as a subclass of both RayTaskError and
# ValueError. With Ray Data the error is a RayTaskError and a UserCodeException, and no ValueError. The original is not
# among its causes either, since __cause__ does not survive the way between processes; it is left in the text alone. What
# must arrive as an object, such as a row's number, has to travel as an argument of an exception that Ray passes on.
#
# Seen with ray 2.60.0 and pyarrow 26.0.1 on Python 3.11:
#   task: RayTaskError(ValueError); a ValueError: True
#   Ray Data: RayTaskError(UserCodeException); a ValueError: False
#   causes: UserCodeException; in the text: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[data]==2.60.0" "pyarrow==26.0.1" "numpy==2.4.6" "pandas==3.1.1"
cat > "$folder/script.py" <<'PY'
import logging
import sys

import ray

ray.init(
    num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1],
    logging_level=logging.CRITICAL,
)
logging.disable(logging.CRITICAL)


def wrong(batch):
    raise ValueError("row 3 has no id")


def caught(ask):
    try:
        ask()
    except Exception as error:
        return error
    raise SystemExit("no error: this has changed")


print("ray", ray.__version__)
task = caught(lambda: ray.get(ray.remote(wrong).remote(None)))
data = caught(lambda: ray.data.range(4).map_batches(wrong).take_all())
for name, error in (("task", task), ("Ray Data", data)):
    print(f"{name}: {type(error).__name__}; a ValueError: {isinstance(error, ValueError)}")
causes, error = [], data
while (error := getattr(error, "cause", None) or error.__cause__) is not None:
    causes.append(type(error).__name__)
told = "ValueError: row 3 has no id" in str(data)
print(f"causes: {', '.join(causes)}; in the text: {told}")
ray.shutdown()
assert isinstance(task, ValueError) and not isinstance(data, ValueError), "this has changed"
assert "ValueError" not in causes and told, "this has changed"
PY
mkdir "$folder/ray"
RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/python" "$folder/script.py" "$folder/ray" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
