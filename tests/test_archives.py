"""Pinned archives: a file that is not the recorded one is refused, and members land under the table's names only."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limbeck.archives import ARCHIVES, MODELS, Archive, Package, fetch, fetch_archive, model_folder
from limbeck.cache import Cache
from limbeck.errors import UserError

SEVERAL = {"a.txt": b"one", "deep/b.txt": b"two"}


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(index: Path, name: str, members: dict[str, bytes]) -> Package:
    info = f"{name}-1.0.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    content = zipped(members | metadata)
    (index / f"{name}-1.0-py3-none-any.whl").write_bytes(content)
    return Package(name, "1.0", hashlib.sha256(content).hexdigest(), 0.1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "seal.json"}


def test_members_are_kept_and_fetched_only_once(index: Path, tmp_path: Path) -> None:
    package = wheel(index, "toy", {"toy/data.csv": b"a,b", "toy/other.bin": b"not wanted"})
    archive = Archive((package,), {"toy/data.csv": "rows.csv"}, "MIT")
    cache = Cache(tmp_path / "cache")
    first = fetch_archive(archive, cache)
    assert contents(first) == {"rows.csv": b"a,b"}
    (index / "toy-1.0-py3-none-any.whl").unlink()
    assert fetch_archive(archive, Cache(cache.root)) == first
    assert not [path for path in (cache.root / "archives").iterdir() if path.name.startswith(".download")]


def test_members_of_an_archive_within(index: Path, tmp_path: Path) -> None:
    package = wheel(index, "toy", {"toy/data.tar.gz": tarred(SEVERAL)})
    archive = Archive((package,), {"deep/b.txt": "b.txt"}, "MIT", inner="toy/data.tar.gz")
    assert contents(fetch_archive(archive, Cache(tmp_path / "cache"))) == {"b.txt": b"two"}


def test_parts_are_put_end_to_end(index: Path, tmp_path: Path) -> None:
    whole = zipped(SEVERAL)
    packages = tuple(
        wheel(index, f"toy{part}", {f"in/{part:03}": piece})
        for part, piece in enumerate((whole[:40], whole[40:90], whole[90:]), start=1)
    )
    archive = Archive(packages, {name: Path(name).name for name in SEVERAL}, "MIT", inner="in/{part:03}")
    assert contents(fetch_archive(archive, Cache(tmp_path / "cache"))) == {"a.txt": b"one", "b.txt": b"two"}


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/escaped.txt", "..", "a/b.txt"])
def test_no_member_is_written_outside_its_folder(index: Path, tmp_path: Path, name: str) -> None:
    package = wheel(index, "toy", {"toy/data.csv": b"a,b"})
    with pytest.raises(ValueError, match="not a plain file name"):
        fetch_archive(Archive((package,), {"toy/data.csv": name}, "MIT"), Cache(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("escaped.txt"))


def test_links_in_a_tar_are_refused(index: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        link = tarfile.TarInfo("data.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    package = wheel(index, "toy", {"toy/data.tar.gz": out.getvalue()})
    archive = Archive((package,), {"data.csv": "data.csv"}, "MIT", inner="toy/data.tar.gz")
    with pytest.raises(ValueError, match="not a plain file in the archive"):
        fetch_archive(archive, Cache(tmp_path / "cache"))


def test_another_file_than_the_recorded_one_is_refused(index: Path, tmp_path: Path) -> None:
    package = replace(wheel(index, "toy", {"toy/data.csv": b"a,b"}), sha256="0" * 64)
    with pytest.raises(UserError) as caught:
        fetch_archive(Archive((package,), {"toy/data.csv": "rows.csv"}, "MIT"), Cache(tmp_path / "cache"))
    (problem,) = caught.value.problems
    assert problem.where == "toy==1.0"
    got = hashlib.sha256((index / "toy-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert f"SHA-256 {got}, expected {'0' * 64}" in problem.what
    assert not list((tmp_path / "cache").rglob("rows.csv"))


def test_a_package_pip_cannot_find_says_what_to_do(index: Path, tmp_path: Path) -> None:
    package = Package("limbeck-no-such-package", "1.0", "0" * 64, 0.1)
    with pytest.raises(UserError) as caught:
        fetch_archive(Archive((package,), {"x": "x"}, "MIT"), Cache(tmp_path / "cache"))
    (problem,) = caught.value.problems
    assert problem.where == "limbeck-no-such-package==1.0"
    assert "No matching distribution found" in problem.what
    assert "pip config list" in problem.what


def test_every_package_is_pinned() -> None:
    for archive in ARCHIVES.values():
        assert archive.licence
        for package in archive.packages:
            assert package.version
            assert len(bytes.fromhex(package.sha256)) == 32
    assert len(ARCHIVES["mpnet"].packages) == 5
    assert {model.archive for model in MODELS.values()} <= set(ARCHIVES)


@pytest.mark.parametrize(
    ("call", "word", "meant"), [(fetch, "moveis", "movies"), (model_folder, "minilm-l5", "minilm-l")]
)
def test_unknown_names_get_a_suggestion(call: object, word: str, meant: str, tmp_path: Path) -> None:
    assert callable(call)
    with pytest.raises(UserError, match=f"Did you mean '{meant}"):
        call(word, Cache(tmp_path))


@pytest.mark.data
@pytest.mark.parametrize(("name", "millions"), [("minilm-l6", 22.7), ("minilm-l3", 17.2)])
def test_models_load_as_encoders_with_their_tokenizer(name: str, millions: float, cache: Cache) -> None:
    from transformers import AutoConfig, AutoTokenizer, BertModel

    folder = model_folder(name, cache)
    config = AutoConfig.from_pretrained(folder)
    assert {key: getattr(config, key) for key in MODELS[name].config} == MODELS[name].config
    assert len(AutoTokenizer.from_pretrained(folder)) == config.vocab_size == 30_522
    model, report = BertModel.from_pretrained(folder, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert set(report["missing_keys"]) <= {"pooler.dense.weight", "pooler.dense.bias"}
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.25)


@pytest.mark.data
def test_weights_taken_from_the_graph_compute_what_the_graph_computes(cache: Cache) -> None:
    runtime = pytest.importorskip("onnxruntime")
    import torch
    from transformers import AutoTokenizer, BertModel

    folder = model_folder("minilm-l3", cache)
    batch = AutoTokenizer.from_pretrained(folder)(["a fine film", "dull"], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = BertModel.from_pretrained(folder).eval()(**batch).last_hidden_state.numpy()
    session = runtime.InferenceSession(fetch("minilm-l3", cache) / "model.onnx")
    feed = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
    outputs = session.run(None, feed)
    same = [out for out in outputs if out.shape == hidden.shape]
    assert any(np.allclose(out, hidden, atol=1e-5) for out in same)
