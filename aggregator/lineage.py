"""Where a version comes from and what came from it, both ways, as a tree of text. Reads no database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aggregator.registry_values import Registered


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The versions that one version descends from, oldest first, itself, and those that descend from it, in order."""

    ancestors: tuple[Registered, ...]
    entry: Registered
    descendants: tuple[Registered, ...]

    @property
    def every(self) -> tuple[Registered, ...]:
        """All of them, each behind its parent."""
        return (*self.ancestors, self.entry, *self.descendants)

    @property
    def rounds(self) -> tuple[tuple[str, int], ...]:
        """The (job, round) pairs that made the version, oldest first."""
        made = (*self.ancestors, self.entry)
        return tuple((e.version.job, e.version.round) for e in made if e.version.origin == "round")


@dataclass(frozen=True, kw_only=True)
class _Family:
    of: Mapping[bytes, Registered] = field(repr=False)
    children: Mapping[bytes, Sequence[Registered]] = field(repr=False)


def _family(entries: Iterable[Registered]) -> _Family:
    of = {entry.digest: entry for entry in entries}
    children: dict[bytes, list[Registered]] = {}
    for entry in sorted(of.values(), key=lambda e: (e.version.time, e.version.job, e.version.version)):
        if entry.version.parent:
            children.setdefault(entry.version.parent, []).append(entry)
    return _Family(of=of, children=children)


def lineage_of(entry: Registered, entries: Iterable[Registered]) -> Lineage:
    """Return the lineage of one of `entries`, across jobs.

    A parent that is not among them ends the way back; a version that claims to be its own ancestor does too.
    """
    family = _family(entries)
    ancestors: list[Registered] = []
    at = family.of.get(entry.version.parent)
    met = {entry.digest}
    while at is not None and at.digest not in met:
        met.add(at.digest)
        ancestors.append(at)
        at = family.of.get(at.version.parent)
    descendants: list[Registered] = []
    waiting = [entry]
    while waiting:
        for child in family.children.get(waiting.pop(0).digest, ()):
            if child.digest not in met:
                met.add(child.digest)
                descendants.append(child)
                waiting.append(child)
    return Lineage(ancestors=tuple(reversed(ancestors)), entry=entry, descendants=tuple(descendants))


def made_by(entry: Registered) -> str:
    """Return what made a version, in a few words."""
    version = entry.version
    if version.origin == "rollback":
        return f"rollback to {version.restored.hex()[:12]}"
    if version.origin == "round":
        return f"round {version.round}, attempt {version.attempt}, {_cohorts(len(version.cohorts))}"
    return f"starts from {version.parent.hex()[:12]}" if version.parent else f"from bundle {version.bundle.hex()[:12]}"


def label(entry: Registered) -> str:
    """Return one line on a version: its number, what made it, its stage, and how its digest begins."""
    version = entry.version
    return f"{version.job} v{version.version}  {made_by(entry)}  {entry.stage}  {entry.digest.hex()[:12]}"


def tree(lineage: Lineage) -> list[str]:
    """Return the lines of a tree: only children go deeper when a version has several; `*` marks the one asked for."""
    family = _family(lineage.every)
    lines: list[str] = []
    met: set[bytes] = set()  # a registry that was tampered with may hold a circle
    waiting = [(lineage.every[0], "", "")]
    while waiting:
        entry, lead, indent = waiting.pop()
        if entry.digest in met:
            continue
        met.add(entry.digest)
        mark = "*" if entry.digest == lineage.entry.digest else "o"
        lines.append(f"{lead}{mark} {label(entry)}")
        children = family.children.get(entry.digest, ())
        if len(children) == 1:
            waiting.append((children[0], indent, indent))
        else:
            branches = [
                (c, indent + ("└─" if c is children[-1] else "├─"), indent + ("  " if c is children[-1] else "│ "))
                for c in children
            ]
            waiting += reversed(branches)
    return lines


def _cohorts(count: int) -> str:
    return f"{count} cohort" if count == 1 else f"{count} cohorts"
