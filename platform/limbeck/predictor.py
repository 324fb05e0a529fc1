"""A model folder at work: texts in, logits out, with nothing but transformers in between.

Run as a program it is the fresh process in which an export must prove itself:
`python -m limbeck.predictor FOLDER texts.json logits.npy`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from limbeck.errors import Problem, UserError
from limbeck.models.loading import quiet

LONGEST_TOKENS = 512
_SAFE = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
_FRESH = "import sys; sys.path.insert(0, sys.argv.pop(1)); from limbeck.predictor import main; main(sys.argv[1:])"


class Predictor:
    """A classifier and its tokenizer, loaded from a Hugging Face folder and ready for texts."""

    def __init__(self, folder: Path, max_tokens: int | None = None) -> None:
        if not (folder / "config.json").is_file():
            raise UserError(Problem(str(folder), "holds no model (no config.json); give the folder of an export"))
        try:
            with quiet():
                self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
                self._model = AutoModelForSequenceClassification.from_pretrained(folder, **_SAFE).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(Problem(str(folder), f"cannot be loaded as a text classifier: {error}")) from error
        # Tokenizers without a limit carry a sentinel far beyond any model's positions.
        self._max_tokens = max_tokens or min(int(self._tokenizer.model_max_length), LONGEST_TOKENS)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits; empty for regression."""
        if self._model.config.num_labels == 1:
            return ()
        return tuple(str(self._model.config.id2label[i]) for i in range(self._model.config.num_labels))

    @property
    def parameters(self) -> int:
        """Number of parameters, embeddings included."""
        return sum(p.numel() for p in self._model.parameters())

    def logits(self, columns: Sequence[Sequence[str]], batch_size: int = 32) -> np.ndarray:
        """Return (N, C) float32 logits for one or two columns of N texts each.

        Texts are sorted by length inside, so that pads stay few; the result is in the order given.
        """
        rows = len(columns[0])
        order = sorted(range(rows), key=lambda i: -sum(len(column[i]) for column in columns))
        out: np.ndarray = np.zeros((rows, self._model.config.num_labels), np.float32)
        for start in range(0, rows, batch_size):
            chosen = order[start : start + batch_size]
            texts = [[column[i] for i in chosen] for column in columns]
            batch = self._tokenizer(
                *texts, truncation=True, max_length=self._max_tokens, padding=True, return_tensors="pt"
            )
            with torch.inference_mode():
                out[chosen] = self._model(**batch).logits.float().cpu().numpy()
        return out


def fresh_logits(folder: Path, columns: Sequence[Sequence[str]], scratch: Path) -> np.ndarray:
    """Return the (N, C) logits that a new Python process computes from `folder`; RuntimeError when it cannot.

    `scratch` is an existing folder for the texts on their way in and the logits on their way out.
    """
    texts, answer = scratch / "texts.json", scratch / "logits.npy"
    texts.write_text(json.dumps([list(column) for column in columns]))
    root = str(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-P", "-c", _FRESH, root, str(folder), str(texts), str(answer)]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if run.returncode:
        raise RuntimeError(f"the folder does not load in a new process:\n{run.stderr.strip()[-2000:]}")
    out: np.ndarray = np.load(answer)
    return out


def main(arguments: Sequence[str]) -> None:
    """Read texts.json, write logits.npy."""
    folder, texts, answer = map(Path, arguments)
    columns = json.loads(texts.read_text())
    # Renamed when whole, so that a reader never sees half an array.
    part = answer.with_suffix(".part.npy")
    np.save(part, Predictor(folder).logits(columns))
    part.replace(answer)


if __name__ == "__main__":
    main(sys.argv[1:])
