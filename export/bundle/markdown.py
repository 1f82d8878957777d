"""Text of a user inside Markdown that a hub renders as HTML: shown as it is, never as markup."""

from __future__ import annotations

import html
import re

from runtime.errors import harmless

# Ordinary names stay as they are: letters, digits, blanks, and . , - _ ' ( ) / : + ? = @ % # !
# An underscore is markup at the edge of a word only: mobilenetv4_conv_medium has none.
SPECIAL = re.compile(r"[\\`*\[\]{}|~$]|(?<![^\W_])_|_(?![^\W_])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ESCAPED = re.compile(r"\\([\\`*\[\]{}|~$!#_<>&])")


def markdown_text(text: str) -> str:
    """``text`` on one line, with all escaped that Markdown or HTML reads as markup."""
    line = harmless(" ".join(text.split()))
    escaped = SPECIAL.sub(lambda found: f"\\{found[0]}", line)
    return "".join(ENTITIES.get(character, character) for character in escaped)


def plain_text(markdown: str) -> str:
    """The text that `markdown_text` was given."""
    return html.unescape(_ESCAPED.sub(r"\1", markdown))


def code(text: str) -> str:
    """``text`` as an inline code span, whatever backticks it holds."""
    line = harmless(" ".join(text.split()))
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"{fence}{line}{fence}"
