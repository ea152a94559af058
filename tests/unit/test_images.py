"""What has to be done before an engine can run an image, in each engine's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from axsched_hpc.objectives.containers import images
from axsched_hpc.objectives.containers.engines import ENGINES
from axsched_hpc.objectives.containers.images import Archive, Need, Unsuitable

MADE, SCRATCH = Path("/c/.k.tmp/k.sif"), Path("/c/.k.tmp/scratch")


@pytest.mark.parametrize(
    ("image", "needs"),
    [
        ("/images/a.sif", {}),
        ("/images/rootfs", {}),
        ("solver:1", {"a": Need.PRODUCT, "p": Need.STORED, "c": Need.PRODUCT, "d": Need.STORED}),
        ("docker://solver:1", {"a": Need.PRODUCT, "p": Need.STORED, "c": Need.PRODUCT, "d": Need.STORED}),
        ("/a/b.tar", {"a": Need.PRODUCT, "p": Need.LOADED, "c": Need.PRODUCT, "d": Need.LOADED}),
        ("oras://site/solver:1", {"a": Need.PRODUCT}),
        ("library://solver:1", {"a": Need.PRODUCT}),
        ("instance://mine", {}),
        ("docker-archive:/a/b.tar", {}),
        ("oci:/a/b", {}),
    ],
)
def test_what_each_engine_needs(image: str, needs: dict[str, Need]) -> None:
    for name, short in (("apptainer", "a"), ("podman", "p"), ("docker", "d"), ("charliecloud", "c")):
        if not (name == "charliecloud" and "://" in image and not image.startswith("docker:")):
            assert images.need(ENGINES[name], image) is needs.get(short, Need.NOTHING)
    assert images.need(ENGINES["singularity"], image) is needs.get("a", Need.NOTHING)


@pytest.mark.parametrize("option", [["--pull=always"], ["--pull", "newer"]])
def test_who_says_when_to_pull_leaves_it_to_the_engine(option: list[str]) -> None:
    for name in ("podman", "docker"):
        assert images.need(ENGINES[name], "solver:1", option) is Need.NOTHING
    assert images.need(ENGINES["podman"], "solver:1", ["--pulls"]) is Need.STORED


def test_a_key_tells_the_image_from_others_and_is_a_name_for_people() -> None:
    def key(engine: str, image: str, machine: str = "x86_64", stamp: tuple[int, int] | None = None) -> str:
        return images.key(ENGINES[engine], image, machine, stamp)

    assert key("podman", "ghcr.io/me/solver:1.2").startswith("solver-1.2-")
    assert key("podman", "docker://a/solver:1") == key("podman", "a/solver:1")
    assert key("podman", "a/" + "x" * 200 + "@sha256:0").startswith("x" * 40 + "-")
    assert key("charliecloud", "/data/my solver.tar.gz", stamp=(1, 2)).startswith("my-solver-")
    assert key("podman", "a/..:").startswith("image-")
    different = {
        key("podman", "a"),
        key("docker", "a"),
        key("podman", "a", "aarch64"),
        key("podman", "b/a"),
        key("podman", "/a.tar", stamp=(1, 2)),
        key("podman", "/a.tar", stamp=(2, 2)),
        key("podman", "/a.tar", stamp=(1, 3)),
        key("podman", "/b/a.tar", stamp=(1, 2)),
    }
    assert len(different) == 8


def test_apptainer_and_singularity_make_a_file() -> None:
    for name in ("apptainer", "singularity"):
        engine = ENGINES[name]
        assert images.product(engine, "k") == "k.sif"
        assert images.programs(engine, "solver:1") == {name}
        for image, uri in (
            ("solver:1", "docker://solver:1"),
            ("docker://solver:1", "docker://solver:1"),
            ("oras://site/solver:1", "oras://site/solver:1"),
        ):
            made = images.recipes(engine, image, None, MADE, SCRATCH)
            assert made == (((name, "pull", str(MADE), uri),),)
        for kind, transport in ((Archive.DOCKER, "docker-archive"), (Archive.OCI, "oci-archive")):
            made = images.recipes(engine, "/a/b.tar", kind, MADE, SCRATCH)
            assert made == (((name, "build", str(MADE), f"{transport}:/a/b.tar"),),)
        with pytest.raises(Unsuitable, match="it holds a file system"):
            images.recipes(engine, "/a/b.tar", Archive.FLAT, MADE, SCRATCH)
        with pytest.raises(Unsuitable, match="takes ':' in a path"):
            images.recipes(engine, "/a:b/b.tar", Archive.OCI, MADE, SCRATCH)


def test_charliecloud_makes_a_directory() -> None:
    engine = ENGINES["charliecloud"]
    assert images.product(engine, "k") == "k"
    assert images.programs(engine, "solver:1") == {"ch-image", "ch-convert"}
    assert images.programs(engine, "/a/b.tar") == {"ch-convert"}
    convert = ("ch-convert", "-i", "ch-image", "-o", "dir", "--tmp", str(SCRATCH), "solver:1", str(MADE))
    pull = ("ch-image", "pull", "solver:1")
    assert images.recipes(engine, "docker://solver:1", None, MADE, SCRATCH) == ((convert,), (pull, convert))
    convert = ("ch-convert", "-i", "tar", "-o", "dir", "--tmp", str(SCRATCH), "/a/b.tar.gz", str(MADE))
    assert images.recipes(engine, "/a/b.tar.gz", Archive.FLAT, MADE, SCRATCH) == ((convert,),)
    with pytest.raises(Unsuitable, match="it holds the layers of an image"):
        images.recipes(engine, "/a/b.tar", Archive.DOCKER, MADE, SCRATCH)


ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        # podman save, podman 4.3
        ([f"{ID}.tar", f"{ID}.json", f"{ID}/layer.tar", "manifest.json"], Archive.DOCKER),
        # docker save, docker 20.10
        ([f"{ID}/", f"{ID}/VERSION", f"{ID}/json", "manifest.json", "repositories"], Archive.DOCKER),
        # docker save, docker 25 and later
        (["blobs/", "blobs/sha256/", f"blobs/sha256/{ID}", "index.json", "manifest.json"], Archive.DOCKER),
        # podman save --format oci-archive
        ([f"blobs/sha256/{ID}", "index.json", "oci-layout"], Archive.OCI),
        (["oci-layout", "./index.json", "./blobs"], Archive.OCI),
        (["bin/", "bin/sh", "etc/", "usr/manifest.json"], Archive.FLAT),
        (["./", "./bin", "./manifest.json"], Archive.FLAT),
        ([], Archive.FLAT),
    ],
)
def test_what_an_archive_holds(members: list[str], kind: Archive) -> None:
    assert images.archive_kind(members) is kind


def test_of_a_large_archive_no_more_is_read_than_has_to_be() -> None:
    read = []

    def members(*names: str) -> object:
        for name in names:
            read.append(name)
            yield name

    images.archive_kind(members("./", "bin/sh", "lib/a", "lib/b"))  # type: ignore[arg-type]
    assert read == ["./", "bin/sh"]


def test_a_storage_knows_an_image_by_its_content() -> None:
    reference = images.reference(f"sha256:{ID}")
    assert reference == images.reference(ID) == f"localhost/axsched:{ID[:48]}"
    assert images.reference("my-solver-0123456789ab") == "localhost/axsched:0123456789ab"
    assert images.pull("docker", "docker://a/solver:1") == ("docker", "pull", "a/solver:1")
    assert images.load("podman", Archive.FLAT, "r") == ("podman", "import", "image.tar", "r")
    assert images.load("podman", Archive.OCI, "r") == ("podman", "load", "-i", "image.tar")


def test_what_storages_say() -> None:
    assert images.digest(f"time=x level=warning msg=y\n{ID}\n") == ID
    assert images.digest(f"sha256:{ID}\n") == ID
    assert images.digest("[]\nError: inspecting object: a: image not known\n") is None
    assert images.loaded("Copying\nLoaded image: localhost/a:1\n") == ["localhost/a:1"]
    assert images.loaded("Loaded image(s): localhost/a:1,localhost/b:1") == ["localhost/a:1", "localhost/b:1"]
    assert images.loaded(f"Loaded image ID: sha256:{ID}\n") == [f"sha256:{ID}"]
    assert images.loaded("Loaded image: a:1\nLoaded image: b:1\n") == ["a:1", "b:1"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Error: localhost/axsched:ab: image not known"],  # podman 4.3
        [
            "docker: Error response from daemon: No such image: localhost/axsched:ab.",
            "See 'docker run --help'.",
        ],
        [
            "docker: Error response from daemon: No such image: localhost/axsched:ab",
            "",
            "Run 'docker run --help' for more information",
        ],
    ],
)
def test_that_a_storage_does_not_know_an_image(lines: list[str]) -> None:
    assert images.unknown(125, lines, "localhost/axsched:ab")
    assert not images.unknown(1, lines, "localhost/axsched:ab")
    assert not images.unknown(125, lines, "localhost/axsched:cd")
    assert not images.unknown(125, [f"x {line}" for line in lines], "localhost/axsched:ab")


def test_that_docker_has_no_daemon() -> None:
    said = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    assert images.no_service([said])
    assert not images.no_service(["Error response from daemon: pull access denied"])
