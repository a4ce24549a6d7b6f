"""Walks over documents of flags and segments, and over contexts."""
import copy

NOBODY = "nobody-at-all"  # a kind that no context has


def closure(document, flag):
    """A copy of the flag and of everything that its evaluation can reach."""
    flags, segments = {}, {}
    waiting = [flag]
    while waiting:
        key = waiting.pop()
        if key in flags or key not in document["flags"]:
            continue
        flags[key] = document["flags"][key]
        waiting += [each["key"] for each in flags[key].get("prerequisites") or []]
    names = [name for each in flags.values() for name in segment_names(each)]
    while names:
        name = names.pop()
        if name in segments or name not in document["segments"]:
            continue
        segments[name] = document["segments"][name]
        names += segment_names(segments[name])
    return copy.deepcopy({"flags": flags, "segments": segments})


def segment_names(item):
    return [value for rule in item.get("rules") or [] for clause in rule.get("clauses") or [] if clause["op"] == "segmentMatch"
            for value in clause["values"] if isinstance(value, str)]


def segment_rules(document):
    return [rule for segment in document["segments"].values() for rule in segment.get("rules") or []]


def flag_rules(document):
    return [rule for flag in document["flags"].values() for rule in flag.get("rules") or []]


def clauses(document):
    return [clause for rule in flag_rules(document) + segment_rules(document) for clause in rule.get("clauses") or []]


def rollouts(document):
    """(flag, rollout) of all that a flag of the document may choose."""
    return [(flag, place["rollout"]) for flag in document["flags"].values()
            for place in (flag.get("rules") or []) + [flag.get("fallthrough") or {}] if place.get("rollout")]


def references(document):
    """(object, member) of every attribute reference that is a path."""
    found = [(clause, "attribute") for clause in clauses(document) if clause.get("contextKind") and clause["op"] != "segmentMatch"]
    found += [(rollout, "bucketBy") for _, rollout in rollouts(document)
              if rollout.get("contextKind") and rollout.get("bucketBy") and rollout.get("kind") != "experiment"]
    found += [(rule, "bucketBy") for rule in segment_rules(document) if rule.get("rolloutContextKind") and rule.get("bucketBy")]
    return found


def change_references(document, change):
    """`change` gives a new reference, or None to keep it."""
    for holder, member in references(document):
        new = change(holder[member])
        if new is not None:
            holder[member] = new


def is_invalid(reference, is_path):
    if not is_path:
        return reference == ""
    if reference in ("", "/"):
        return True
    if not reference.startswith("/"):
        return False
    parts = reference[1:].split("/")
    return any(part == "" or "~" in part.replace("~0", "").replace("~1", "") for part in parts)


def is_erroneous(clause):
    return clause["op"] != "segmentMatch" and is_invalid(clause.get("attribute") or "", bool(clause.get("contextKind")))


def kinds(context):
    if context.get("kind") == "multi":
        return [kind for kind in context if kind != "kind"]
    return [context.get("kind", "user")]


def bags(context):
    """The objects that hold a context's attributes."""
    if "kind" not in context:
        return [context["custom"]] if context.get("custom") else []
    if context["kind"] == "multi":
        return [each for each in context.values() if isinstance(each, dict)]
    return [context]


def change_values(document, context, operators, attribute, change):
    """Changes what clauses with these operators compare with, and that attribute of the context."""
    for clause in clauses(document):
        if clause["op"] in operators:
            clause["values"] = [change(value) for value in clause["values"]]
    for bag in bags(context):
        if attribute in bag:
            value = bag[attribute]
            bag[attribute] = [change(each) for each in value] if isinstance(value, list) else change(value)


def has_cycle(items, next_keys):
    """Whether following next_keys(item) comes back to an item that it came through."""
    done, open_ = set(), set()

    def visit(key):
        if key in open_:
            return True
        if key in done or key not in items:
            return False
        open_.add(key)
        found = any(visit(each) for each in next_keys(items[key]))
        open_.remove(key)
        done.add(key)
        return found
    return any(visit(key) for key in items)
