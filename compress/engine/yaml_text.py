"""Reads YAML that a person wrote: settings, values of ``--set``, budgets.

Stricter than YAML itself. A key that is given twice is an error, not the last one's value; and a
few lines of anchors may not stand for gigabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compress.engine.text import shortened

if TYPE_CHECKING:
    import yaml

MAX_CHARACTERS = 1_000_000
MAX_NODES = 100_000  # with every anchor written out


def parse_yaml(text: str, as_text: bool = False) -> Any:
    """Plain values: mappings, lists, text, numbers; ValueError, with one line, for any other text.

    Tags that would make Python objects are refused. With ``as_text`` every value is text as it is
    written: ``010`` and ``no`` are names.
    """
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, at most {MAX_CHARACTERS:,} are read")
    try:
        return yaml.load(text, _loader(as_text))  # noqa: S506 (a SafeLoader)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from error
    except Exception as error:  # PyYAML's constructors let their own errors through: 2026-99-99
        own = isinstance(error, ValueError) and str(error).partition("\n")[0]
        raise ValueError(
            own or "a value does not fit the type that is written before it"
        ) from error


def _loader(as_text: bool) -> type[yaml.SafeLoader]:
    import yaml
    from yaml.constructor import ConstructorError

    class Loader(yaml.SafeLoader):
        """The safe loader without repeated keys and anchors that multiply."""

        def get_single_node(self) -> yaml.Node | None:
            node = super().get_single_node()
            if node is not None and _count(node, {}) > MAX_NODES:
                what = f"its anchors stand for more than {MAX_NODES:,} values"
                raise ConstructorError(None, None, what, node.start_mark)
            return node

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            if isinstance(node, yaml.MappingNode):
                seen: set[tuple[str, str]] = set()
                for key, _ in node.value:
                    name = (key.tag, str(key.value))
                    if name in seen:
                        what = f"key {key.value!r} is given twice"
                        raise ConstructorError(None, None, what, key.start_mark)
                    seen.add(name)
            return super().construct_mapping(node, deep)

    if as_text:
        Loader.yaml_implicit_resolvers = {}
    return Loader


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """The nodes of a tree with its anchors written out; without end for one that holds itself."""
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # while it is open, for one that holds itself
        inner = [node.value] if not isinstance(node.value, list) else node.value
        pairs = (part for one in inner for part in (one if isinstance(one, tuple) else (one,)))
        children = (part for part in pairs if not isinstance(part, str))
        known[id(node)] = 1 + sum(_count(part, known) for part in children)
    return known[id(node)]


def _reason(error: yaml.YAMLError) -> str:
    """What is wrong and where, in one line."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return shortened(problem, 160) + where
