"""Makes a case smaller while it still shows what it shows."""
import copy

ATTEMPTS_MAX = 400
KEPT = {"variations"}  # the indexes of a flag point into them
NEEDED = {"key", "kind", "flags", "segments"}


def removable(value, path=()):
    """Paths of everything that may be left out, outermost first."""
    if isinstance(value, dict):
        names = [name for name in value if name not in NEEDED and (is_of_items(path) or path[:1] == ("context",))]
        yield from (path + (name,) for name in names)
        for name in value:
            yield from removable(value[name], path + (name,))
    elif isinstance(value, list) and not (path[-1] in KEPT and len(path) == 4):
        if len(value) > 4:
            yield from (path + (half,) for half in (slice(0, len(value) // 2), slice(len(value) // 2, len(value))))
        yield from (path + (i,) for i in reversed(range(len(value))))
        for i, each in enumerate(value):
            yield from removable(each, path + (i,))


def is_of_items(path):
    return path in (("document", "flags"), ("document", "segments"))


def without(case, path):
    case = copy.deepcopy(case)
    holder = case
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return case


def shrunk(document, flag, context, still_shows):
    case = {"document": copy.deepcopy(document), "context": copy.deepcopy(context)}
    attempts = 0
    again = True
    while again:
        again = False
        for path in list(removable(case)):
            if path == ("document", "flags", flag):
                continue
            if attempts == ATTEMPTS_MAX:
                return case["document"], case["context"]
            attempts += 1
            try:
                smaller = without(case, path)
            except (KeyError, IndexError, TypeError):
                continue  # it went with something else
            if still_shows(smaller["document"], smaller["context"]):
                case = smaller
                again = True
                break
    return case["document"], case["context"]
