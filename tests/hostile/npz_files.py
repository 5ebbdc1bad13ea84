"""NPZ files made to exhaust or to deceive: each function writes one, ``HOSTILE_NPZ`` lists them."""

import pickle
import struct
import zipfile

import numpy as np

from tests.hostile import special_files


def _header(shape, descr="|u1"):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _archive(path, *members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def bomb(folder, *, count=100_000):
    """Images of zeros, 3 kB each, in a thousandth of that."""
    path = folder / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as member,
    ):
        member.write(_header((count, 32, 32, 3)))
        for _ in range(count // 1000):
            member.write(bytes(1000 * 3072))
    return path


def header_bomb(folder):
    """A header that claims 10**15 images in front of no data."""
    return _archive(folder / "header.npz", ("images.npy", _header((10**15, 4, 4, 3))))


def negative_shape(folder):
    """A header with negative lengths, whose product is that of the data."""
    return _archive(folder / "negative.npz", ("images.npy", _header((-1, -4, 4, 3)) + bytes(48)))


def overflowing_shape(folder):
    """A header whose product of lengths is 48 modulo 2**64."""
    return _archive(folder / "overflow.npz", ("images.npy", _header((2**62, 4, 4, 3)) + bytes(48)))


def lying_size(folder):
    """A member of 50 MB whose entry in the archive claims 200 bytes."""
    path = _archive(folder / "lying.npz", ("images.npy", _header((1_000_000, 4, 4, 3)) + bytes(48_000_000)))
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02") + 24
    raw[at : at + 4] = (200).to_bytes(4, "little")
    path.write_bytes(raw)
    return path


def twice(folder):
    """Two members of the same name."""
    one = _header((1, 4, 4, 3)) + bytes(48)
    path = _archive(folder / "twice.npz", ("images.npy", one), ("imagez.npy", one))
    path.write_bytes(path.read_bytes().replace(b"imagez.npy", b"images.npy"))
    return path


def objects(folder):
    """An array of pickled objects that writes a file when it is unpickled."""

    class Trap:
        def __reduce__(self):
            return (open, (str(folder / "sprung"), "w"))

    content = _header((1,), "|O") + pickle.dumps(np.array([Trap()], object), protocol=2)
    return _archive(folder / "objects.npz", ("images.npy", content))


def deep_header(folder):
    """A header whose text is nested 4,000 deep."""
    text = b"(" * 4000 + b")" * 4000 + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    return _archive(folder / "deep.npz", ("images.npy", content))


def many_members(folder):
    """Five thousand empty arrays."""
    return _archive(folder / "many.npz", *((f"{i}.npy", b"") for i in range(5000)))


def long_list(folder):
    """Eighteen megabytes of list of members, one of them 300,000 times."""
    raw = _archive(folder / "list.npz", ("0.npy", b"")).read_bytes()
    at = raw.index(b"PK\x01\x02")
    entries = raw[at:-22] * 300_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entries), at, 0)
    (folder / "list.npz").write_bytes(raw[:at] + entries + end)
    return folder / "list.npz"


def long_header(folder):
    """An array's header of 60 MB, which its format 2.0 allows."""
    content = b"\x93NUMPY\x02\x00" + (60_000_000).to_bytes(4, "little") + b" " * 60_000_000
    return _archive(folder / "long.npz", ("images.npy", content))


def float_images(folder):
    """Images of zeros as floats, 96 MB in a thousandth of that."""
    return _zeros(folder / "floats.npz", "images", (8, 1000, 1000, 3), "<f4")


def many_labels(folder):
    """One image, and labels of zeros, 96 MB in a thousandth of that."""
    path = _zeros(folder / "labels.npz", "labels", (12_000_000,), "<i8")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images.npy", _header((1, 4, 4, 3)) + bytes(48))
    return path


def _zeros(path, name, shape, descr):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as member,
    ):
        member.write(_header(shape, descr))
        for _ in range(96):
            member.write(bytes(1_000_000))
    return path


def no_images(folder):
    """A whole NPZ file without images."""
    np.savez(folder / "none.npz", labels=np.zeros(3, np.int64))
    return folder / "none.npz"


def other_pictures(folder):
    """Images with as many channels as no picture has."""
    np.savez(folder / "channels.npz", images=np.zeros((2, 4, 4, 7), np.uint8))
    return folder / "channels.npz"


def other_size(folder):
    """Images of another size than the network's."""
    np.savez(folder / "size.npz", images=np.zeros((2, 5, 4, 3), np.uint8))
    return folder / "size.npz"


def plain_array(folder):
    """A single array under the name of an archive."""
    with (folder / "plain.npz").open("wb") as stream:
        np.save(stream, np.zeros((2, 4, 4, 3), np.uint8))
    return folder / "plain.npz"


def encrypted(folder):
    """A member with the flag of an encrypted one."""
    path = _archive(folder / "encrypted.npz", ("images.npy", _header((1, 4, 4, 3)) + bytes(48)))
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    return path


HOSTILE_NPZ = (
    bomb,
    header_bomb,
    negative_shape,
    overflowing_shape,
    lying_size,
    twice,
    objects,
    deep_header,
    many_members,
    long_list,
    long_header,
    float_images,
    many_labels,
    no_images,
    other_pictures,
    other_size,
    plain_array,
    encrypted,
    *special_files.with_suffix(".npz"),
)
"""Each takes a folder and returns the path of an NPZ file that must be refused."""
