"""spacy-transfer: trains by `spacy transfer train configs/target_only.cfg`, tags by `nlp.pipe`.

Character level: two bidirectional GRU layers (the other systems offer one).

The log of a run has a clock that goes on while the pipeline is evaluated and saved. So there are
three evaluations, each after a pass over the corpus, on one word whose score is always 0: the first
is the best, nothing is saved after the second, and the third pass is the figure, the evaluation of
one word included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from measure import SIZES, Job, read_job, report

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "target_only.cfg"
ENCODER = "--components.transfer_ner.model.encoder"


def train(job: Job) -> None:
    """Run the command and read its log."""
    batch, model = job.train_batch, job.work / "model"
    steps = max(1, round(len(job.words("train")) / batch))
    settings = {
        "--output": model,
        "--paths.target": job.data / "train.spacy",
        "--paths.dev": job.data / "dev.spacy",
        **{f"{ENCODER}.{name}": size for name, size in SIZES.items()},
        "--training.batcher.batch_size": batch,
        "--training.eval_frequency": steps,
        "--training.max_steps": 3 * steps,
        "--training.patience": 0,
    }
    options = [str(part) for setting in settings.items() for part in setting]
    command = [sys.executable, "-m", "spacy", "transfer", "train", str(CONFIG), *options]
    spawned = time.time()
    subprocess.run(command, check=True, stdout=sys.stderr)
    log = model / "log.jsonl"
    _, before, after = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    report(
        sentences=batch * (after["step"] - before["step"]),
        words=after["words"] - before["words"],
        seconds=after["seconds"] - before["seconds"],
        # The log's clock starts with the first batch; its last line is the last write.
        start_up=log.stat().st_mtime - after["seconds"] - spawned,
        child=True,
    )


if __name__ == "__main__":
    job = read_job(str(__doc__))
    if job.mode == "train":
        train(job)
    else:
        # Not imported above: what this process takes in memory, its child is charged with.
        from pipe import tag

        tag(job, job.work / "model" / "model-last")
