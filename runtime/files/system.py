"""System errors in words: a full disk, a missing permission, too many open files, no memory.

Libraries hide them: safetensors and torch give only their text, shutil a list of texts, numpy no
number, and code that catches everything wraps them. So the whole chain of an exception is read.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.errors import EdgeError

#: Error number -> what is wrong, and what the user can do now.
WORDS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk is full: your quota is used up", "free some space"),
    errno.EFBIG: ("a file is larger than the file system or a limit allows", "use another disk"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("there is no permission", "check who owns the file, and its mode"),
    errno.EPERM: ("the system does not permit it", "check who owns the file, and its mode"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "move it, or choose another folder"),
    errno.EISDIR: ("a folder stands where a file is needed", "move it, or choose another name"),
    errno.EEXIST: ("something of that name is there already", "move it, or choose another name"),
    errno.ENOTEMPTY: ("a folder is not empty", "is another program writing there?"),
    errno.ENOENT: ("a file or folder is missing", "check the path; a link may lead nowhere"),
    errno.ELOOP: ("links lead in a circle", "remove the link"),
    errno.ENAMETOOLONG: ("a file name is too long", "choose a shorter name or folder"),
    errno.EMFILE: ("too many files are open", "raise the limit: ulimit -n 4096"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs"),
    errno.ENOLCK: ("the file system has no locks", "choose a folder on a local disk"),
    errno.EIO: ("the disk reports a read or write error", "check the disk"),
    errno.ESTALE: ("a network folder has vanished", "mount it again"),
    errno.ENOMEM: ("the memory is full", "close other programs, or ask for less at once"),
    errno.EAGAIN: ("the system has no resources left", "raise the limit: ulimit -u"),
    errno.ETXTBSY: ("a file is in use by another program", "close it"),
    errno.EBUSY: ("a file is in use by another program", "close it"),
}
#: Those that no code of ours means when it reports something else: they win over any wrapper.
RESOURCES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM}
)
NUMBER = re.compile(r"(?:\[Errno |os error |errno[ =:]+)(\d+)", re.IGNORECASE)
TEXTS = (
    (
        re.compile(r"no space left|requested and \d+ written|file write failed|disk full", re.I),
        errno.ENOSPC,
    ),
    (
        re.compile(r"can'?t allocate memory|cannot allocate memory|bad_alloc|out of memory", re.I),
        errno.ENOMEM,
    ),
    (re.compile(r"read-only file system", re.I), errno.EROFS),
    (re.compile(r"too many open files", re.I), errno.EMFILE),
)


@dataclass(frozen=True)
class SystemFault:
    """A system error: its number, what is wrong, where, and the remedy."""

    number: int
    what: str
    got: str
    remedy: str


def require_current_folder() -> None:
    """EdgeError if the current folder is gone: libraries end in other ways."""
    try:
        os.getcwd()
    except OSError as error:
        what = "the current folder is gone"
        raise EdgeError(what, remedy="cd into a folder that exists") from error


def system_fault(error: BaseException) -> SystemFault | None:
    """The system error behind an exception, or None.

    An exhausted resource is found anywhere in the chain of causes; other numbers count only for an
    OSError itself, since what wraps one may know better.
    """
    for link in _chain(error):
        number = _number(link)
        if number in RESOURCES or (link is error and number and isinstance(link, OSError)):
            return _fault(number, link)
    if isinstance(error, OSError):
        return SystemFault(0, "the system refuses", _text(error), "see the message")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was raised from or during, each once."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        link = todo.pop(0)
        if link is not None and link not in seen:
            seen.append(link)
            yield link
            todo += [link.__cause__, link.__context__]


def _number(error: BaseException) -> int:
    """The error number, 0 if it has none."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno:
        return error.errno
    text = str(error)
    if found := NUMBER.search(text):
        return int(found[1])
    return next((number for pattern, number in TEXTS if pattern.search(text)), 0)


def _fault(number: int, error: BaseException) -> SystemFault:
    what, remedy = WORDS.get(number, (os.strerror(number).lower(), "see the message"))
    return SystemFault(number, what, _text(error), remedy)


def _text(error: BaseException) -> str:
    """The files an error names, else its text in one line."""
    if isinstance(error, OSError) and error.errno and not isinstance(error.args[0], list):
        files = [
            os.fsdecode(name)
            for name in (error.filename, error.filename2)
            if isinstance(name, (str, bytes))
        ]
        reason = error.strerror or os.strerror(error.errno)
        return " -> ".join(files) + f": {reason}" if files else reason
    return " ".join((str(error) or type(error).__name__).split())[:300]
