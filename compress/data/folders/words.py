"""Folder names -> the words that a prompt needs: ``001.Black_footed_Albatross``, ``n01440764``.

The folder name stays the label. Only what is surely no part of a name is taken away: a number in
front that has zeros or a point (``001.``, ``07_``), ``class_12_``, a number behind that has zeros
(``tulip_03``), and numbers that every class has. Numbers that alone tell classes apart come back
(``2_door``, ``4_door``). A name of digits stays as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from compress.data.class_names import class_name, look_alike, printable

WORDNET = re.compile(r"[nN](\d{8})(?:[-_. ]+(.+))?")  # with a name behind it: Stanford Dogs
LETTER = r"[^\W\d_]"
KIND = re.compile(rf"(?i)^(?:class|cls|category|label)[-_. ]*\d+[-_.: ]+(?={LETTER})")
ZEROS_IN_FRONT = re.compile(rf"^0\d+[-_. )]+(?={LETTER})")
POINT_IN_FRONT = re.compile(rf"^\d+[.)][-_ ]*(?={LETTER})")
ZEROS_BEHIND = re.compile(rf"(?<={LETTER})[-_. ]+0\d+$")
IN_FRONT = re.compile(rf"^(\d+)[-_. )]+(?={LETTER})")
BEHIND = re.compile(rf"(?<={LETTER})[-_. ]+(\d+)$")
HUMP = re.compile(rf"(?<={LETTER})(?<![A-Z])(?=[A-Z])")
SHORT_PART = re.compile(r"\b\w-|-\w\b")  # T-shirt, X-ray, jack-o-lantern
SHORTEST_HUMP = 3  # letters of a word in CamelCase: McDonald, iPhone and LaTeX are one word
SHORTEST_LOUD = 5  # letters of a word in capitals that is no abbreviation


@dataclass(frozen=True)
class ClassWords:
    """The words of a class, and others for the same thing."""

    prompt: str
    synonyms: tuple[str, ...] = ()


def words_of(folders: Collection[str]) -> dict[str, ClassWords]:
    """Folder name -> its words, for all classes of one folder."""
    names = {folder: class_name(printable(folder)) for folder in folders}
    known = {folder: _wordnet(name) for folder, name in names.items()}
    plain = {folder: name for folder, name in names.items() if known[folder] is None}
    bare = _without_numbering(plain)
    counts = Counter(look_alike(_as_words(bare[folder])) for folder in plain if folder in bare)
    words = {folder: ClassWords(_as_words(name)) for folder, name in plain.items()}
    for folder, name in bare.items():
        if counts[look_alike(_as_words(name))] == 1:
            words[folder] = ClassWords(_as_words(name))
    words |= _told_apart({folder: found for folder, found in known.items() if found}, names)
    return {folder: words[folder] for folder in folders}


def _without_numbering(names: Mapping[str, str]) -> dict[str, str]:
    """The names that have a numbering, without it."""
    everywhere = [rule for rule in (IN_FRONT, BEHIND) if _counts(rule, names.values())]
    rules = (KIND, ZEROS_IN_FRONT, POINT_IN_FRONT, ZEROS_BEHIND, *everywhere)
    bare = {}
    for folder, name in names.items():
        match = next(filter(None, (rule.search(name) for rule in rules)), None)
        if match is not None:
            bare[folder] = name[: match.start()] + name[match.end() :]
    return bare


def _counts(rule: re.Pattern[str], names: Collection[str]) -> bool:
    """Whether a number is in all names, each another one; behind them also without a gap."""
    found = [rule.search(name) for name in names]
    numbers = {int(match[1]) for match in found if match}
    if len(names) < 2 or len(numbers) < len(names):
        return False
    return rule is IN_FRONT or max(numbers) - min(numbers) == len(numbers) - 1


def _wordnet(name: str) -> ClassWords | None:
    """The words for a WordNet id, the usual one first; None for any other name."""
    match = WORDNET.fullmatch(name)
    if match is None:
        return None
    lemmas = describe_id(f"n{match[1]}")[0]
    words = [_as_words(match[2])] if match[2] else []
    words += [lemma for lemma in lemmas if look_alike(lemma) not in map(look_alike, words)]
    return ClassWords(words[0], tuple(words[1:])) if words else None


def _told_apart(known: Mapping[str, ClassWords], names: Mapping[str, str]) -> dict[str, ClassWords]:
    """Words of WordNet ids; a crane that is a bird and one that lifts get their definitions."""
    counts = Counter(look_alike(words.prompt) for words in known.values())
    apart = dict(known)
    for folder, words in known.items():
        definition = describe_id(names[folder][:9].lower())[1]
        if counts[look_alike(words.prompt)] > 1 and definition:
            apart[folder] = ClassWords(f"{words.prompt} ({definition})", words.synonyms)
    return apart


def _as_words(name: str) -> str:
    """Words with spaces between them; the name itself if nothing is left."""
    text = name
    for change in (_without_signs, _without_humps, _not_loud):
        text = class_name(change(text))
    return text or name


def _without_signs(name: str) -> str:
    """Spaces for what stands between words: underscores, hyphens, points and plus signs."""
    text = re.sub(r"[_+]+", " ", name)
    text = re.sub(rf"(?<={LETTER}{{2}})\.(?={LETTER}{{2}})", " ", text)
    parts = text.split(" ")
    return " ".join(part if SHORT_PART.search(part) else part.replace("-", " ") for part in parts)


def _without_humps(name: str) -> str:
    """``BlackFootedAlbatross`` -> three words."""
    humps = [] if " " in name else HUMP.split(name)
    return " ".join(humps) if humps and min(map(len, humps)) >= SHORTEST_HUMP else name


def _not_loud(name: str) -> str:
    """A name in capitals in small letters; an abbreviation as it is."""
    longest = max(map(len, name.split()), default=0)
    return name.lower() if name.isupper() and longest >= SHORTEST_LOUD else name


def describe_id(wordnet_id: str) -> tuple[tuple[str, ...], str]:
    """The words and the short definition of a WordNet id, as timm has them; none if unknown."""
    describe = _imagenet()
    try:
        words = describe(wordnet_id, False)
        definition = describe(wordnet_id, True).partition(": ")[2].partition(";")[0]
    except KeyError:
        return (), ""
    return tuple(word.strip() for word in words.split(",") if word.strip()), definition.strip()


@lru_cache(maxsize=1)
def _imagenet() -> Callable[[str, bool], str]:
    """timm's description of a WordNet id; every id is unknown where timm is not installed."""
    try:
        from timm.data import ImageNetInfo
    except ImportError:
        nothing: dict[str, str] = {}
        return lambda wordnet_id, detailed: nothing[wordnet_id]
    return ImageNetInfo("imagenet-22k").label_name_to_description  # type: ignore[no-any-return]
