"""What Python reads of archives: a line `<type> <path>` on standard input, a line of JSON on standard output.

An archive is a list of [path, kind, mode, content]: the kinds are `d`, `f`, `l` (its content is where it leads to) and
`h` (the file that it is another name of). Paths are normal; modes say who may read, write and execute. One that Python
does not read is a text that says why, and so is a tar archive in which GNU tar sees other names.
"""

import hashlib
import json
import posixpath
import stat
import subprocess
import sys
import tarfile
import zipfile


def of_tar(path):
    found, links = {}, {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            if member.isdir():
                kind, content = "d", ""
            elif member.issym():
                kind, content = "l", member.linkname
            elif member.islnk():
                target = posixpath.normpath(member.linkname)
                kind, content = links.get(target, ("h", target))
            elif member.isreg():
                kind, content = "f", hashlib.sha256(archive.extractfile(member).read()).hexdigest()
            else:
                kind, content = "?", str(member.type)
            if kind in "lh":
                links[name] = kind, content
            found.setdefault((name, kind, None if kind == "d" else member.mode & 0o777, content))
        # Python stops at a header that it cannot read, and says nothing.
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read().strip(b"\0"):
            return "something stands where Python sees the end"
    return in_gnu_tar(path, {name for name, *_ in found}) or list(found)


def in_gnu_tar(path, names):
    """Why GNU tar sees other names, if it does. Of numbers that it does not take it complains and goes on."""
    listed = subprocess.run(["tar", "-tf", path, "--quoting-style=literal"], capture_output=True)
    lines = listed.stdout.decode(errors="surrogateescape").splitlines()
    seen, names = [{posixpath.normpath(name) for name in some} - {".", "/"} for some in (lines, names)]
    if seen == names:
        return None
    return f"GNU tar sees {sorted(seen)}, and Python {sorted(names)}: {listed.stderr.decode()}"


def name_in_zip(info):
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            pass
    if info.create_system in (0, 10, 14):
        name = name.replace("\\", "/")
    return name


def of_zip(path):
    found = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name, mode = name_in_zip(info), info.external_attr >> 16
            content = archive.read(info)
            if name.endswith("/"):
                kind, content = "d", ""
            elif info.create_system == 3 and stat.S_ISLNK(mode):
                kind, content = "l", content.decode()
            else:
                kind, content = "f", hashlib.sha256(content).hexdigest()
            is_known = info.create_system == 3 and kind == "f"
            found.setdefault((posixpath.normpath(name), kind, mode & 0o777 if is_known else None, content))
    return list(found)


for line in sys.stdin:
    file_type, path = line.strip().split(" ", 1)
    try:
        answer = of_zip(path) if file_type == "zip" else of_tar(path)
        if isinstance(answer, list):
            # The folder of all, `.` or `/`, says nothing.
            answer = sorted(list(member) for member in answer if member[0].strip("/") not in ("", "."))
    except Exception as error:  # whatever is wrong with it
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), flush=True)
