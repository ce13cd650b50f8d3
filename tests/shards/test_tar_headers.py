"""The quick look at a tar's headers finds what ``tarfile`` finds, and notices what is broken."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectgpt.shards.tar_headers import scan_members

names = st.text("abcxyz-_é/.", min_size=1, max_size=130).filter(lambda name: name.strip("/.") and "//" not in name)


def write(path, members, form):
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        folder = tarfile.TarInfo("a_folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)


@given(
    st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=6),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@settings(max_examples=100, deadline=None)
def test_it_finds_what_tarfile_finds(tmp_path_factory, members, form):
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    try:
        write(path, members, form)
    except ValueError:  # a name that this form cannot hold
        return
    with path.open("rb") as file, tarfile.open(path) as tar:
        assert list(scan_members(file)) == [(m.name, m.offset_data, m.size) for m in tar if m.isfile()]


def test_what_is_broken_is_noticed(tmp_path):
    path = tmp_path / "x.tar"
    write(path, [("a.mp4", bytes(3000)), ("b.mp4", bytes(3000))], tarfile.USTAR_FORMAT)
    whole = path.read_bytes()
    for content, words in (
        (whole[:5000], "ends after 5000 bytes"),
        (whole[:3600] + b"x" + whole[3601:], "header at byte 3584 is broken"),
        (b"no tar at all" * 100, "."),
        (whole[:100], "."),
    ):
        path.write_bytes(content)
        with path.open("rb") as file, pytest.raises((tarfile.TarError, ValueError), match=words):
            list(scan_members(file))
