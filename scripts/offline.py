"""Check a built site: each page's links, pictures and scripts are there, on its own host.

    python scripts/offline.py site

`mkdocs build --strict` knows the links of the pages' Markdown; this reads the pages that a browser
gets. What a script or a style sheet asks for in turn it does not see.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches without being asked to; a link may lead elsewhere.
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("link", "href"),
}


class Page(HTMLParser):
    """The addresses in a page, and the names that others may jump to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.fetched, self.names = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        """Sorts the addresses of one tag."""
        for key, value in attributes:
            if key in ("id", "name"):
                self.names.add(value)
            elif (tag, key) in FETCHED and value:
                self.fetched.append(value)
            elif (tag, key) == ("a", "href") and value:
                self.links.append(value)


def problems(site):
    """What is wrong, a line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site} has no page"
    for path, page in pages.items():
        if path.name == "404.html":  # its addresses begin at the root of wherever it is served
            continue
        where = path.relative_to(site)
        for address in page.fetched:
            if urlsplit(address).netloc:
                yield f"{where}: fetches {address}"
        for address in page.links + page.fetched:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "mailto", "data") or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{where}: {address} is not there"
            elif parts.fragment and target in pages and parts.fragment not in pages[target].names:
                yield f"{where}: {address} has no such place"


def main():
    """Prints what is wrong with the site in the folder given; 1 if anything is."""
    found = list(problems(Path(sys.argv[1]).resolve()))
    for line in found:
        print(line)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
