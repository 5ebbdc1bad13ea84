"""What is no regular file, under a file's name: pipes, sockets, devices, folders, loops of links."""

import functools
import os
import socket


def fifo(folder, suffix=""):
    """A pipe that nobody writes."""
    os.mkfifo(folder / f"fifo{suffix}")
    return folder / f"fifo{suffix}"


def link_to_fifo(folder, suffix=""):
    """A link to a pipe that nobody writes."""
    os.mkfifo(folder / f"target{suffix}.pipe")
    (folder / f"link{suffix}").symlink_to(folder / f"target{suffix}.pipe")
    return folder / f"link{suffix}"


def endless_device(folder, suffix=""):
    """A link to a device that gives bytes for ever."""
    (folder / f"zero{suffix}").symlink_to("/dev/zero")
    return folder / f"zero{suffix}"


def unix_socket(folder, suffix=""):
    """A socket."""
    path, before = folder / f"socket{suffix}", os.getcwd()
    os.chdir(folder)  # a socket's path may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(before)
    return path


def directory(folder, suffix=""):
    """A folder."""
    (folder / f"folder{suffix}").mkdir()
    return folder / f"folder{suffix}"


def link_loop(folder, suffix=""):
    """A link to itself."""
    (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
    return folder / f"loop{suffix}"


def missing_file(folder, suffix=""):
    """A name without a file, beside a letter that no encoding has."""
    return folder / f"missing\udcff{suffix}"


SPECIAL_FILES = (fifo, link_to_fifo, endless_device, unix_socket, directory, link_loop, missing_file)


def with_suffix(suffix):
    """The makers of ``SPECIAL_FILES`` for names that end so."""
    made = []
    for make in SPECIAL_FILES:
        named = functools.partial(make, suffix=suffix)
        functools.update_wrapper(named, make)
        made.append(named)
    return tuple(made)
