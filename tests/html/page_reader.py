"""Read an HTML page independently of what wrote it: tables, words, links and pictures, by html.parser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br"}


@dataclass
class Page(HTMLParser):
    """What a page holds.

    tables: by section id and caption, row title to the texts of its cells.
    """

    words: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    tables: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        super().__init__()
        self.open, self.section, self.caption, self.cells = [], "", "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag == "tr":
            self.cells = []
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr" and "tbody" in self.open:
            title, *cells = self.cells
            self.tables.setdefault((self.section, self.caption), {})[title] = cells
        if tag == "section":
            self.section = ""

    def handle_data(self, data):
        if "style" in self.open:
            return
        text = " ".join(data.split())
        self.words.append(text)
        self.sections[self.section] = f"{self.sections.get(self.section, '')} {text}"
        if "caption" in self.open:
            self.caption = text
        elif self.cells and {"td", "th"} & set(self.open):
            self.cells[-1] = f"{self.cells[-1]} {text}".strip()


def read(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page
