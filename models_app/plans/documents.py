"""Demands as YAML, out and in again exactly. What comes in is bounded before anything is built from it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import yaml

from models_app.plans.demand import DemandSpec, InvalidDemand, between, read_demand

MOST_BYTES = 256 * 1024
MOST_DEPTH = 6
MOST_NODES = 50_000
MOST_DEMANDS = 500


class InvalidYaml(ValueError):
    """A text that is no list of demands. ``code`` is stable; ``errors`` has a sentence for each demand at fault."""

    def __init__(self, message: str, code: str = "invalid_yaml", errors: dict[str, str] | None = None) -> None:
        self.code = code
        self.errors = errors or {}
        super().__init__(message)


class _Loader(yaml.CSafeLoader):
    """YAML's plain values; a key given twice is an error rather than the last one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        known: set[Hashable] = set()
        for key in (self.construct_object(each, deep=True) for each, _ in node.value):
            if not isinstance(key, Hashable):
                raise InvalidYaml(f"Line {node.start_mark.line + 1}: a key is a word, not a list or a mapping.")
            if key in known:
                raise InvalidYaml(f"Line {node.start_mark.line + 1}: the key “{key}” is given twice.")
            known.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's name
        super().increase_indent(flow, False)


def demands_yaml(specs: Iterable[DemandSpec]) -> str:
    """The demands as a document that ``read_yaml`` reads back as they were."""
    documents = [spec.document() for spec in specs]
    return yaml.dump({"demands": documents}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def read_yaml(text: str) -> list[DemandSpec]:
    """The demands of a document. Raises ``InvalidYaml``: for what is too large, nested or shared, and for every demand
    that is none, all at once.
    """
    if len(text.encode()) > MOST_BYTES:
        raise InvalidYaml(f"The file is larger than {MOST_BYTES // 1024} KiB.", "yaml_too_large")
    try:
        _bound(text)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader's subclass
    except yaml.YAMLError as error:
        raise InvalidYaml(_where(error)) from error
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, InvalidYaml) else InvalidYaml(f"A value cannot be read: {error}.") from error
    if not isinstance(document, dict) or set(document) != {"demands"} or not isinstance(document["demands"], list):
        raise InvalidYaml("The file must hold one key, demands, with a list.")
    if len(document["demands"]) > MOST_DEMANDS:
        raise InvalidYaml(f"The file has more than {MOST_DEMANDS} demands.", "yaml_too_large")
    return read_all(document["demands"])


def read_all(documents: Iterable[object]) -> list[DemandSpec]:
    """Demands that agree with one another. Raises ``InvalidYaml`` with a sentence for each that is at fault."""
    specs: list[DemandSpec] = []
    errors: dict[str, str] = {}
    for number, document in enumerate(documents, 1):
        try:
            specs.append(read_demand(document))
        except InvalidDemand as error:
            named = document.get("name") if isinstance(document, dict) else None
            fields = "; ".join(f"{field}: {text}" if field else text for field, text in error.errors.items())
            errors[f"{number}"] = f"Demand {number}{f' ({named})' if isinstance(named, str) else ''}: {fields}"
    errors = errors or between(specs)
    if errors:
        raise InvalidYaml(" ".join(errors.values()), "invalid_demands", errors)
    return specs


def _bound(text: str) -> None:
    """Walks the events before any object exists: aliases are how a short file becomes a large one."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        where = f"Line {event.start_mark.line + 1}" if event.start_mark else "Somewhere"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InvalidYaml(f"{where}: anchors and aliases are not accepted.", "yaml_alias")
        if getattr(event, "tag", None):
            raise InvalidYaml(f"{where}: tags are not accepted.", "yaml_tag")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH or nodes > MOST_NODES:
            raise InvalidYaml(f"{where}: the file is nested too deeply or has too many values.", "yaml_too_large")


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    return f"Line {mark.line + 1}: {problem}." if mark else f"The file is no YAML: {problem}."
