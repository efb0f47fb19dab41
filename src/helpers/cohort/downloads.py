"""Public cohorts, from where they are published to a folder; `make data COHORT=...` runs it as a program."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

HER2ST_COMMIT = "85df7411b987a7dec3feff9718b869a7a82091ec"
HER2ST_URL = "https://raw.githubusercontent.com/almaan/her2st/{commit}/{path}"
HEST = "MahmoodLab/hest"
HEST_PAGE = f"https://huggingface.co/datasets/{HEST}"
HEST_REVISION = "50d244f17d799c2ea9218635c6f33d24801ffb13"  # a commit of the dataset that holds HEST_v1_1_0.csv
HEST_FILES = ("st/{id}.h5ad", "wsis/{id}.tif", "metadata/{id}.json")
HEST_NUCLEI = "cellvit_seg/{id}_cellvit_seg.parquet"


def fetch_her2st(root: str | Path, manifest: pd.DataFrame, url: str = HER2ST_URL) -> None:
    """Download every file of `manifest` (path, git_blob_sha1) that is not yet below `root`; each is verified.

    Files come from the public repository at the pinned commit. A file appears under its name only once its git blob id
    is right, so an interrupted download is simply started again.
    """
    import pooch
    from tqdm.std import tqdm

    def download(address: str, partial: str, _) -> None:
        pooch.HTTPDownloader(timeout=60)(address, partial, None)
        found, wanted = git_blob_id(Path(partial).read_bytes()), blobs[address]
        if found != wanted:
            raise ValueError(
                f"{address}: wrong file (git blob {found}, expected {wanted}); nothing was kept, try again"
            )

    blobs = {}
    for row in tqdm(list(manifest.itertuples()), desc="almaan/her2st", unit="file"):
        path = Path(root) / row.path
        if not path.resolve().is_relative_to(Path(root).resolve()):
            raise ValueError(f"{row.path}: leaves {root}; a manifest names files below it")
        if path.exists():
            if git_blob_id(path.read_bytes()) != row.git_blob_sha1:
                raise ValueError(f"{path}: not the file of the public repository; remove it and it is fetched again")
            continue
        address = url.format(commit=HER2ST_COMMIT, path=row.path)
        blobs[address] = row.git_blob_sha1
        pooch.retrieve(address, known_hash=None, fname=path.name, path=path.parent, downloader=download)


def git_blob_id(content: bytes) -> str:
    """Git's name of a file: the SHA-1 of `blob <size>`, a zero byte and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def fetch_hest(root: str | Path, ids: Iterable[str], revision: str = HEST_REVISION) -> None:
    """Download counts, image, metadata and nuclei of these HEST-1k ids, and nothing else, at a pinned revision.

    The dataset is gated: the token of the environment variable HF_TOKEN (or of `hf auth login`) has to belong to an
    account that accepted its terms. OSError says what is missing. Files appear only once they are whole.
    """
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    token = huggingface_hub.get_token()
    if token is None:
        raise OSError(f"no token: accept the terms at {HEST_PAGE}, make a token there, and set HF_TOKEN to it")
    ids = list(ids)
    wanted = [pattern.format(id=name) for name in ids for pattern in (*HEST_FILES, HEST_NUCLEI)]
    try:
        # Asked first: with a folder from before, the download itself would only warn that the hub cannot be reached.
        huggingface_hub.HfApi(token=token).repo_info(HEST, repo_type="dataset", revision=revision)
        huggingface_hub.snapshot_download(
            HEST, repo_type="dataset", revision=revision, local_dir=root, allow_patterns=wanted, token=token
        )
    except GatedRepoError as error:
        raise OSError(f"access not granted: accept the terms at {HEST_PAGE} with the account of HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise OSError(f"the token is not valid: make one for the account that accepted {HEST_PAGE}") from error
    except (LocalEntryNotFoundError, httpx.HTTPError) as error:
        raise OSError(f"no connection to {HEST_PAGE}: check the network; what is there is kept, try again") from error
    needed = [pattern.format(id=name) for name in ids for pattern in HEST_FILES]
    if missing := [path for path in needed if not (Path(root) / path).is_file()]:
        raise OSError(f"{HEST_PAGE} at {revision} has no {', '.join(missing)}: check the ids in the config")
