import functools
import http.server
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub
import pandas as pd
import pytest
import yaml
from huggingface_hub import errors

from helpers import __main__ as program
from helpers.cohort import downloads

CONFIG = Path(__file__).parents[2] / "config"


def test_a_blob_id_is_that_of_git():
    """The id of the empty file and of a short one, as `git hash-object` prints them."""
    assert downloads.git_blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert downloads.git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


# --- download, from a server on this machine ---


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served" / "data"
    folder.mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}/{{path}}"
    httpd.shutdown()


def manifest(*contents):
    rows = [(f"data/{name}", downloads.git_blob_id(content)) for name, content in contents]
    return pd.DataFrame(rows, columns=["path", "git_blob_sha1"])


@pytest.mark.parametrize("path", ["../outside.txt", "/tmp/outside.txt", "a/../../outside.txt"])
def test_a_manifest_writes_below_its_root_alone(tmp_path, path):
    wanted = pd.DataFrame({"path": [path], "git_blob_sha1": "0"})
    with pytest.raises(ValueError, match="outside.txt: leaves .*; a manifest names files below it"):
        downloads.fetch_her2st(tmp_path / "root", wanted, "http://127.0.0.1:9/{path}")


def test_files_are_downloaded_once(server, tmp_path):
    folder, url = server
    (folder / "a.txt").write_bytes(b"alpha")
    wanted = manifest(("a.txt", b"alpha"))
    downloads.fetch_her2st(tmp_path / "root", wanted, url)
    assert (tmp_path / "root/data/a.txt").read_bytes() == b"alpha"
    (folder / "a.txt").unlink()
    downloads.fetch_her2st(tmp_path / "root", wanted, url)  # nothing left to fetch


def test_a_wrong_file_is_refused_and_named(server, tmp_path):
    folder, url = server
    (folder / "a.txt").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"data/a\.txt: wrong file"):
        downloads.fetch_her2st(tmp_path / "root", manifest(("a.txt", b"alpha")), url)
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file()]


def test_a_changed_file_on_disk_is_refused_and_named(server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_bytes(b"changed")
    with pytest.raises(ValueError, match=r"data/a\.txt: not the file of the public repository; remove it"):
        downloads.fetch_her2st(tmp_path, manifest(("a.txt", b"alpha")), server[1])


def test_an_interrupted_download_is_restarted(server, tmp_path):
    folder, url = server
    (folder / "a.txt").write_bytes(b"alpha")
    wanted = manifest(("a.txt", b"alpha"), ("b.txt", b"beta"))
    with pytest.raises(OSError, match=r"b\.txt"):
        downloads.fetch_her2st(tmp_path / "root", wanted, url)
    assert (tmp_path / "root/data/a.txt").exists()
    assert not (tmp_path / "root/data/b.txt").exists()
    (folder / "b.txt").write_bytes(b"beta")
    downloads.fetch_her2st(tmp_path / "root", wanted, url)
    assert (tmp_path / "root/data/b.txt").read_bytes() == b"beta"


# --- HEST-1k, from a hub of our own ---


@pytest.fixture
def hub(monkeypatch):
    """The calls that reach the hub, which gives the files that are asked for, or the error it is told to raise."""
    calls = []

    def repo_info(*_, **__):
        if hub_fails:
            raise hub_fails[0]

    def snapshot_download(repo_id, *, local_dir, allow_patterns, **more):
        calls.append({"repo_id": repo_id, "allow_patterns": allow_patterns} | more)
        for pattern in allow_patterns:
            path = Path(local_dir) / pattern
            path.parent.mkdir(parents=True, exist_ok=True)
            if "SPA1" in pattern:
                path.write_bytes(b"content")

    hub_fails = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: SimpleNamespace(repo_info=repo_info))
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    return calls, hub_fails


def refusal(kind):
    return kind("no", response=httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co")))


def test_only_the_files_of_the_cohort_are_asked_for_at_a_pinned_revision(hub, tmp_path):
    calls, _ = hub
    downloads.fetch_hest(tmp_path, ["SPA119", "SPA120"])
    (call,) = calls
    assert (call["repo_id"], call["repo_type"], call["revision"]) == (
        "MahmoodLab/hest",
        "dataset",
        downloads.HEST_REVISION,
    )
    assert len(call["revision"]) == 40
    assert set(call["allow_patterns"]) == {
        f"{folder}/{name}{end}"
        for name in ("SPA119", "SPA120")
        for folder, end in (
            ("st", ".h5ad"),
            ("wsis", ".tif"),
            ("metadata", ".json"),
            ("cellvit_seg", "_cellvit_seg.parquet"),
        )
    }


def test_the_cohort_of_the_config_is_the_36_sections_of_the_paper(hub, tmp_path, monkeypatch):
    calls, _ = hub
    monkeypatch.delenv("HEST_ROOT", raising=False)
    config = yaml.safe_load((CONFIG / "hest.yaml").read_text()) | {"root": str(tmp_path / "hest")}
    (tmp_path / "hest.yaml").write_text(yaml.safe_dump(config))
    assert program.fetch_cohort(str(tmp_path / "hest.yaml")) == 0
    asked = {Path(pattern).stem for pattern in calls[0]["allow_patterns"] if pattern.startswith("st/")}
    assert asked == {f"SPA{k}" for k in range(119, 155)}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (refusal(errors.GatedRepoError), "not granted: accept the terms"),
        (refusal(errors.RepositoryNotFoundError), "token is not valid"),
        (errors.LocalEntryNotFoundError("no"), "check the network"),
        (httpx.ProxyError("no"), "check the network"),
    ],
    ids=["gated", "token", "network", "proxy"],
)
def test_the_hub_s_refusals_are_said_with_what_to_do(hub, tmp_path, error, says):
    """Also where an earlier download left files: without asking first, the hub's client would only warn."""
    _, fails = hub
    (tmp_path / "st").mkdir()
    (tmp_path / "st/SPA119.h5ad").write_bytes(b"earlier")
    fails.append(error)
    with pytest.raises(OSError, match=says):
        downloads.fetch_hest(tmp_path, ["SPA119"])


def test_a_missing_token_is_said_before_anything_is_asked(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(OSError, match="no token: accept the terms .* set HF_TOKEN"):
        downloads.fetch_hest(tmp_path, ["SPA119"])
    assert hub[0] == []


def test_an_id_that_the_dataset_lacks_is_named(hub, tmp_path):
    with pytest.raises(OSError, match=r"has no st/SPA999.h5ad, wsis/SPA999.tif, metadata/SPA999.json: check the ids"):
        downloads.fetch_hest(tmp_path, ["SPA119", "SPA999"])


def test_a_cohort_that_is_simulated_or_read_elsewhere_is_not_downloaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HER2ST_ROOT", str(tmp_path))
    assert [program.fetch_cohort(str(CONFIG / f"{name}.yaml")) for name in ("toy", "her2st")] == [0, 0]
    assert "is simulated" in capsys.readouterr().out
    assert program.fetch_cohort(str(tmp_path / "nowhere.yaml")) == 1
