"""Commands one after another in a process of its own: `commands.py '[["jobs", …], …]'` prints `[[code, out, err], …]`.

`["job", NAME, COMMAND, ADDRESS]` submits a shell command to run where there is a `driver`;
`["details", JOB, ADDRESS]` prints what Ray knows of a job; `["wait", FILE]` waits until a file is there.
"""

import contextlib
import io
import json
import sys
import time
from pathlib import Path

from limbeck.cli import main


def run(words: list[str]) -> int:
    if words[0] == "wait":
        while not Path(words[1]).exists():
            time.sleep(0.1)
        return 0
    if words[0] not in ("job", "details"):
        return main(words)
    from limbeck.cluster.jobs import Cluster, Driver
    from limbeck.cluster.upload import pack

    cluster = Cluster(words[-1])
    if words[0] == "job":
        print(cluster.submit(words[1], words[2], pack(None, Path()), Driver(resources={"driver": 0.001})))
    else:
        print(cluster._client.get_job_info(cluster.find(words[1]).id).model_dump_json())
    return 0


if __name__ == "__main__":
    answers = []
    for words in json.loads(sys.argv[1]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(words)
        answers.append([code, out.getvalue(), err.getvalue()])
    print(json.dumps(answers))
