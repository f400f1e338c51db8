#!/usr/bin/env python3
"""Makes code.txt and prose.txt of Debian's packages, for the experiments with families of models.

Usage: make_texts.py FOLDER. It downloads about 190 MB with apt-get and needs 2 GB while it works.

code.txt: the C sources and headers of linux-source-6.1. prose.txt: dictionaries (GCIDE, FOLDOC, the Jargon File),
documentation (Perl, Python, Linux), an encyclopedic FAQ (anarchism) and the King James Bible. Documents are shuffled, so the
last part of a text holds documents of all kinds that the first part lacks. The same packages give the same bytes.
"""

import gzip
import html
import pathlib
import random
import re
import subprocess
import sys

PACKAGES = [
    "linux-source-6.1", "dict-gcide", "dict-foldoc", "dict-jargon", "perl-doc", "python3.11-doc", "anarchism", "bible-kjv",
    "bible-kjv-text",
]
PIECE = 20_000  # bytes: longer documents without parts of their own are cut where a paragraph ends


def unpack(folder: pathlib.Path) -> None:
    """Downloads the packages and unpacks them into folder/unpacked."""
    unpacked = folder / "unpacked"
    if (unpacked / "done").exists():
        return
    unpacked.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=unpacked, check=True)
    for package in sorted(unpacked.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
        package.unlink()
    archive = next(unpacked.glob("usr/src/linux-source-*.tar.xz"))
    subprocess.run(["tar", "xf", archive, "-C", unpacked], check=True)
    archive.unlink()
    (unpacked / "done").touch()


def pieces(text: str) -> list[str]:
    """Cuts a text at ends of paragraphs."""
    cut, own = [], ""
    for paragraph in text.split("\n\n"):
        own += paragraph + "\n\n"
        if len(own) >= PIECE:
            cut.append(own)
            own = ""
    return cut + [own]


def text_of_html(page: str) -> str:
    page = re.sub(r"(?is)<(script|style)\b.*?</\1>", "", page)
    page = re.sub(r"(?i)</?(p|br|h\d|li|ul|ol|div|blockquote|tr|table)\b[^>]*>", "\n", page)
    page = html.unescape(re.sub(r"<[^>]+>", "", page))
    page = re.sub(r"[ \t\u00a0]+", " ", page)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" ?\n ?", "\n", page)).strip() + "\n"


def bible(unpacked: pathlib.Path) -> str:
    """The whole Bible, a verse a line."""
    said = subprocess.run(
        [unpacked / "usr/bin/bible", "-f", "-p", unpacked / "usr/lib"], input="gen1:1-rev22:21\n", text=True,
        capture_output=True, check=True).stdout
    verses = [re.sub(r"^(bible\(KJV\) \[.*?\]> )?", "", line) for line in said.split("\n")[2:]]
    return "\n".join(re.sub(r"^\w+?(\d+:\d+) ", r"\1 ", verse) for verse in verses)


def prose(unpacked: pathlib.Path) -> list[str]:
    documents = []
    for dictionary in ("gcide", "foldoc", "jargon"):
        with gzip.open(unpacked / f"usr/share/dictd/{dictionary}.dict.dz", "rt", errors="replace") as file:
            documents += pieces(file.read())
    for pattern in ("usr/share/**/*.pod", "usr/share/doc/python3.11/**/*.rst.txt", "linux-source-*/Documentation/**/*.rst"):
        for path in sorted(unpacked.glob(pattern)):
            if path.is_file() and not path.is_symlink() and "translations" not in path.parts:
                documents += pieces(path.read_text(errors="replace"))
    for path in sorted(unpacked.glob("usr/share/doc/anarchism/html/**/*.html")):
        documents += pieces(text_of_html(path.read_text(errors="replace")))
    return documents + pieces(bible(unpacked).replace("\n1:1 ", "\n\n1:1 "))


def code(unpacked: pathlib.Path) -> list[str]:
    root = next(unpacked.glob("linux-source-*"))
    paths = sorted(path for path in root.rglob("*.[ch]") if path.is_file() and not path.is_symlink())
    # Tables of registers are not written by hand.
    return [path.read_text(errors="replace") for path in paths if path.stat().st_size < 200_000]


def write(path: pathlib.Path, documents: list[str]) -> None:
    documents = [document for document in dict.fromkeys(documents) if len(document) >= 500]
    random.Random(1).shuffle(documents)
    text = "\n".join(documents).encode()
    path.write_bytes(text)
    print(f"{path}: {len(text)} bytes, {len(documents)} documents")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    unpack(folder)
    write(folder / "code.txt", code(folder / "unpacked"))
    write(folder / "prose.txt", prose(folder / "unpacked"))


if __name__ == "__main__":
    main()
