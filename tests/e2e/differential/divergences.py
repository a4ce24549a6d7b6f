"""Where an SDK's evaluator answers otherwise than ours: each has a name, the SDK, a way to plant its situation, and either a
rewrite or a predicate.  A rewrite changes flags, segments and context so that our evaluator must then give exactly the SDK's
answer; where no data can say what the SDK does, `accepts` tells which pairs of answers the situation explains.

docs/protocols/evaluation.md describes them for people.
"""
import copy
import hashlib
import math
import re
import struct
from fractions import Fraction

from documents import (NOBODY, bags, change_references, change_values, clauses, flag_rules, has_cycle, is_erroneous, is_invalid,
                       kinds, rollouts, segment_names, segment_rules)

SEMVER = {"semVerEqual", "semVerLessThan", "semVerGreaterThan"}
DATE = {"before", "after"}


class Divergence:
    """rewrite(document, context) changes both in place; accepts(document, flag, context, ours, theirs) is a predicate.
    `is_anywhere`: it needs no odd data, so it may arise in every corpus."""

    def __init__(self, name, peer, plant, rewrite=None, accepts=None, is_anywhere=False):
        self.name, self.peer, self.plant, self.rewrite, self.accepts = name, peer, plant, rewrite, accepts
        self.is_anywhere = is_anywhere


# Helpers of plants.  A plant gets (random, corpus, flag), where the flag has the variations 0 to 3, falls through to 0 and has
# nothing else.

def rule(*conditions, **outcome):
    return {"id": "odd", "clauses": list(conditions)} | (outcome or {"variation": 1})


def clause(attribute, op, *values, kind="user", negate=False):
    return {"attribute": attribute, "op": op, "values": list(values), "negate": negate, "contextKind": kind}


def always():
    return clause("kind", "in", "nobody", negate=True)


def add_segment(corpus, flag, **members):
    key = f"odd-{flag['key']}"
    corpus.segments[key] = {"key": key, "version": 1, "salt": "s", "included": [], "excluded": [], "rules": []} | members
    flag["rules"] = [rule(clause("", "segmentMatch", key))]
    return key


def halves(**more):
    return {"variations": [{"variation": 1, "weight": 50000}, {"variation": 2, "weight": 50000}]} | more


def give(random, corpus, name, values):
    for context in corpus.contexts:
        for bag in bags(context):
            if random.random() < 0.7:
                bag[name] = random.choice(values)


def asks(attribute, op, values, given, kind="user"):
    """A plant: a rule with one clause, and contexts with the attribute."""
    def plant(random, corpus, flag):
        flag["rules"] = [rule(clause(attribute, op, *random.sample(values, random.randint(1, len(values))), kind=kind))]
        give(random, corpus, attribute.split("/")[-1], given)
    return plant


def refers(reference, name):
    """A plant: a reference that an SDK reads otherwise; `name` is what it may mean."""
    def plant(random, corpus, flag):
        flag["rules"] = [rule(clause(reference, "in", "x"))]
        for each in name if isinstance(name, list) else [name]:
            give(random, corpus, each, ["x", "y"])
    return plant


# Points in time

def iso(nanoseconds):
    """RFC 3339 of nanoseconds since 1970, any year from 0 to 9999."""
    seconds, rest = divmod(nanoseconds, 10**9)
    days, second = divmod(seconds, 86400)
    z = days + 719468  # days since 0000-03-01, in eras of 400 years
    era, day_of_era = divmod(z, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{rest:09}Z"


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def fractional_date(value):
    if is_number(value) and value != int(value):
        return iso(math.floor(Fraction(value) * 10**6))
    return value


def wrapped_date(value):
    """Go counts nanoseconds in 64 bits."""
    if is_number(value) and abs(value) > 9.2e12:
        return iso((int(value) * 10**6 + 2**63) % 2**64 - 2**63)
    return value


def cut_to_milliseconds(value):
    return re.sub(r"(\.\d{3})\d+", r"\1", value) if isinstance(value, str) else value


NODE_DATES = {"2020-01-01T24:00:00Z": "2020-01-02T00:00:00Z"}
GO_DATES = {"2020-01-01t00:00:00z": "2020-01-01T00:00:00Z", "2020-01-01T1:00:00Z": "2020-01-01T01:00:00Z",
            "2020-01-01T00:00:60Z": "2020-01-01T00:01:00Z", "2020-01-01T00:00:00+24:00": "2019-12-31T00:00:00Z",
            "2020-01-01T00:00:00-99:59": "2020-01-05T03:59:00Z"}
PLAIN_DATES = ["2020-01-01T00:00:00Z", "2020-01-01T00:30:00Z", "2020-01-03T00:00:00Z", "2019-12-01T00:00:00Z"]


def in_dates(attribute, change):
    return lambda document, context: change_values(document, context, DATE, attribute, change)


def in_versions(change):
    return lambda document, context: change_values(document, context, SEMVER, "release", change)


def by_table(table):
    return lambda value: table.get(value, value) if isinstance(value, str) else value


# Patterns: what JavaScript makes of the left one RE2 says as on the right; None: nothing matches.
PATTERNS = {"^(?=ab)": "^ab", "a(?!b)": "a([^b]|$)", "(a)\\1": "aa", "(?<=x)y": "xy"}
INLINE_FLAGS = {"(?i)ABC": None, "(?s)a.b": None, "(?P<name>a)": None}
UTF_16 = {"^.$": "^[^\\n\\r\\x{2028}\\x{2029}\\x{10000}-\\x{10FFFF}]$", "^..$": "^([^\\n\\r]{2}|[\\x{10000}-\\x{10FFFF}])$"}


def in_patterns(table):
    def rewrite(document, _):
        for each in clauses(document):
            if each["op"] == "matches":
                changed = [table.get(value, value) if isinstance(value, str) else value for value in each["values"]]
                each["values"] = [value for value in changed if value is not None]
    return rewrite


# References

def trailing_slash(reference):
    inside = reference.rstrip("/")
    return "/" + NOBODY if reference == inside + "/" and inside.startswith("/") and not is_invalid(inside, True) else None


def leading_escape(reference):
    """Node leaves a component as it is when it begins with an escape."""
    if not reference.startswith("/") or is_invalid(reference, True):
        return None
    parts = [part.replace("~", "~0") if part.startswith("~") else part for part in reference[1:].split("/")]
    return "/" + "/".join(parts)


def literal_that_node_refuses(reference):
    return "//" if not reference.startswith("/") and ("//" in reference or reference.endswith("~")) else None


def private_member(reference):
    return "//" if reference == "_meta" or reference == "/_meta" or reference.startswith("/_meta/") else None


def in_references(change):
    return lambda document, _: change_references(document, change)


def kind_as_path(document, _):
    for each in clauses(document):
        if each.get("contextKind") and each["attribute"] == "/kind":
            each["attribute"] = "kind"


def bucket_by_kind(document, _):
    for holder in [rollout for _, rollout in rollouts(document)] + segment_rules(document):
        if holder.get("bucketBy") in ("kind", "/kind"):
            holder["bucketBy"] = NOBODY


# Segments

def share_without_kind(document, context):
    for each in segment_rules(document):
        is_bad = each.get("bucketBy") and is_invalid(each["bucketBy"], bool(each.get("rolloutContextKind")))
        if each.get("weight", 0) > 0 and (each.get("rolloutContextKind") or "user") not in kinds(context) and not is_bad:
            del each["weight"]


def listed_users(document, _):
    for segment in document["segments"].values():
        for name in ("included", "excluded"):
            for entry in segment.get(name + "Contexts") or []:
                if entry.get("contextKind", "user") == "user":
                    segment[name] = (segment.get(name) or []) + entry["values"]


def without_generation(document, context):
    for segment in document["segments"].values():
        kind = segment.get("unboundedContextKind") or "user"
        if segment.get("unbounded") and "generation" not in segment and kind not in kinds(context):
            segment |= {"unbounded": False, "included": [], "excluded": [], "rules": []}


def drop_errors_before_others(document, _):
    for each in flag_rules(document) + segment_rules(document):
        conditions = each.get("clauses") or []
        each["clauses"] = [c for i, c in enumerate(conditions) if i == len(conditions) - 1 or not is_erroneous(c)]


def plant_segment_error(random, corpus, flag):
    bad = rule(clause("//", "in", "x"))
    add_segment(corpus, flag, rules=[bad])
    flag["rules"][0]["clauses"].append(always())


def plant_segment_cycle(random, corpus, flag):
    key = add_segment(corpus, flag)
    corpus.segments[key]["rules"] = [rule(clause("", "segmentMatch", key), always())]


def is_segment_error_lost(document, flag, context, ours, theirs):
    # The error of a segment is lost like that of a clause, but whether there is one depends on the context.
    has_followed = any(c["op"] == "segmentMatch" for each in flag_rules(document) + segment_rules(document)
                       for c in (each.get("clauses") or [])[:-1])
    return is_malformed(ours) and has_followed and any(is_erroneous(c) for each in segment_rules(document)
                                                       for c in each.get("clauses") or [])


# Flags

def is_malformed(answer):
    return answer["reason"].get("errorKind") == "MALFORMED_FLAG"


def is_outcome_malformed(flag, outcome):
    if outcome.get("variation") is not None:
        return not 0 <= outcome["variation"] < len(flag["variations"])
    rollout = outcome.get("rollout") or {}
    return not rollout.get("variations") or bool(rollout.get("bucketBy")) and is_invalid(
        rollout["bucketBy"], bool(rollout.get("contextKind")))


def has_malformed_prerequisite(document, flag, context, ours, theirs):
    others = [each for key, each in document["flags"].items() if key != flag]
    return (ours["reason"]["kind"] == "PREREQUISITE_FAILED" and is_malformed(theirs) and
            any(is_outcome_malformed(each, place) for each in others
                for place in (each.get("rules") or []) + [each.get("fallthrough") or {}]))


def plant_malformed_prerequisite(random, corpus, flag):
    key = flag["key"] + "-malformed"
    corpus.flags[key] = copy.deepcopy(flag) | {"key": key, "fallthrough": random.choice([{"variation": 99}, {}])}
    flag["prerequisites"] = [{"key": key, "variation": 0}]


def plant_prerequisite_cycle(random, corpus, flag):
    flag["prerequisites"] = [{"key": flag["key"], "variation": 0}, {"key": "unknown", "variation": 0}]


def is_prerequisite_error_lost(document, flag, context, ours, theirs):
    def next_keys(each):
        return [p["key"] for p in each.get("prerequisites") or []]
    return (is_malformed(ours) and theirs["reason"]["kind"] == "PREREQUISITE_FAILED" and
            any(len(next_keys(each)) > 1 for each in document["flags"].values()) and has_cycle(document["flags"], next_keys))


def has_segment_cycle(document, flag, context, ours, theirs):
    return is_malformed(ours) and has_cycle(document["segments"], segment_names)


def user_values_in_context_targets(document, _):
    for flag in document["flags"].values():
        for target in flag.get("contextTargets") or []:
            if (target.get("contextKind") or "user") == "user":
                target["values"] = []


def plant_context_targets(random, corpus, flag):
    keys = [context["key"] for context in corpus.contexts if isinstance(context.get("key"), str)]
    flag["contextTargets"] = [{"contextKind": "user", "values": keys[:len(keys) // 2], "variation": 1}]
    flag["targets"] = [{"values": keys[len(keys) // 2:], "variation": 1}]


def without_clauses(document, _):
    for each in flag_rules(document):
        if each.get("clauses") is None:
            each["clauses"] = [clause("kind", "in")]


def drop_seed_0(document, _):
    for _, rollout in rollouts(document):
        if rollout.get("seed") == 0:
            del rollout["seed"]


def empty_kind(document, _):
    for holder in clauses(document) + [rollout for _, rollout in rollouts(document)]:
        if holder.get("contextKind") == "":
            holder["contextKind"] = NOBODY


def float32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


def entry_of(bucket, rollout, rounded):
    total = 0.0
    for index, entry in enumerate(rollout["variations"]):
        total = rounded(total + rounded(rounded(entry["weight"]) / rounded(100000.0)))
        if bucket < total:
            return index
    return len(rollout["variations"]) - 1


def bucketed_value(individual, rollout):
    """As text; None: bucket 0."""
    by = rollout.get("bucketBy") if rollout.get("kind") != "experiment" else None
    is_path = bool(rollout.get("contextKind")) and (by or "").startswith("/")
    value = individual | (individual.get("custom") or {} if "kind" not in individual else {})
    for name in by[1:].split("/") if is_path else [by or "key"]:
        value = value.get(name) if isinstance(value, dict) else None
    if is_number(value) and value == int(value):
        return str(int(value))
    return value if isinstance(value, str) else None


def differs_in_float32(document, flag, context, ours, theirs):
    """A share's border lies between the bucket in 32 bits and in 64."""
    for owner, rollout in rollouts(document):
        kind = rollout.get("contextKind") or "user"
        individual = context.get(kind, {}) if context.get("kind") == "multi" else context if kinds(context) == [kind] else {}
        value = bucketed_value(individual, rollout)
        if value is None:
            continue
        prefix = f"{rollout['seed']}" if "seed" in rollout else f"{owner['key']}.{owner.get('salt') or ''}"
        number = int(hashlib.sha1(f"{prefix}.{value}".encode()).hexdigest()[:15], 16)
        if (entry_of(number / float(0xFFFFFFFFFFFFFFF), rollout, float) !=
                entry_of(float32(float32(number) / float32(0xFFFFFFFFFFFFFFF)), rollout, float32)):
            return True
    return False


# Contexts

def big_number(document, context):
    for bag in bags(context):
        value = bag.get("big")
        if is_number(value) and abs(value) >= 2**53:
            bag["big"] = str(int(float(value))) if abs(value) < 2**63 else True


def number_as_key(document, context):
    if "kind" not in context and is_number(context.get("key")):
        context["key"] = str(context["key"])


def reserved_in_custom(document, context):
    if "kind" in context or not context.get("custom"):
        return
    for name in ("name", "anonymous"):
        if context["custom"].get(name) is not None and context.get(name) is None:
            context[name] = context["custom"][name]


def custom_after_top(document, context):
    members = list(context)
    if "kind" in context or "custom" not in members or not context["custom"]:
        return
    for name in ("email", "country"):
        if name in members and members.index(name) < members.index("custom") and context["custom"].get(name) is not None:
            del context[name]


def null_in_list(document, context):
    stands_for_null = "\u0001"
    for each in clauses(document):
        if each["attribute"] == "nulls" and each["op"] == "in":
            each["values"] = [stands_for_null if value is None else value for value in each["values"]]
    for bag in bags(context):
        if isinstance(bag.get("nulls"), list):
            bag["nulls"] = [stands_for_null if value is None else value for value in bag["nulls"]]


def is_context_refused(document, flag, context, ours, theirs):
    return ours["reason"].get("errorKind") == "USER_NOT_SPECIFIED" and any(
        not isinstance(each.get("name", ""), (str, type(None))) or not isinstance(each.get("anonymous", False), bool) or
        not isinstance(each.get("_meta", {}), (dict, type(None))) for each in bags(context))


def adds_contexts(*contexts, **rule_members):
    def plant(random, corpus, flag):
        corpus.contexts += [each for each in copy.deepcopy(contexts) if each not in corpus.contexts]
        flag |= copy.deepcopy(rule_members)
    return plant


def sets(**members):
    return lambda random, corpus, flag: flag.update(copy.deepcopy(members))


def has_segment(**members):
    return lambda random, corpus, flag: add_segment(corpus, flag, **copy.deepcopy(members)) and None


def plant_listed_users(random, corpus, flag):
    keys = [context["key"] for context in corpus.contexts if context.get("kind") == "user" and isinstance(context.get("key"), str)]
    add_segment(corpus, flag, includedContexts=[{"contextKind": "user", "values": keys[::2]}])


def plant_big(random, corpus, flag):
    flag["fallthrough"] = {"rollout": halves(contextKind="user", bucketBy="big")}
    give(random, corpus, "big", [7, 1e19, 1e21, 1e22, *(random.randrange(2**57, 2**63) for _ in range(20))])


VERSIONS_WITH_BLANKS = [" 1.0.0", "1.0.0 ", "1.0.0", "\t2.0.0", "3"]
LARGE_VERSIONS = ["9007199254740993.0.0", "1.9007199254740993.0", "1.0.0", "2.0.0"]
MOMENTS = [1000, 1000.25, 1000.5, 1000.75, 1001]
FINE = ["2020-01-01T00:00:00.0009Z", "2020-01-01T00:00:00.1234567899Z"]
NEAR_FINE = ["2020-01-01T00:00:00.0001Z", "2020-01-01T00:00:00.000Z", "2020-01-01T00:00:00.123Z", "2020-01-01T00:00:00.1221Z"]
REGEX_TEXTS = ["ab", "abc", "aa", "ba", "xy", "a\nb", "ABC", "a", "😀", "é", "日本", "\u2028", "\r"]

# In this order the rewrites are applied: none may change what an earlier one made.
DIVERGENCES = [
    Divergence("segment share, context without the kind that is bucketed", "node",
               has_segment(rules=[{"clauses": [], "weight": 50000, "rolloutContextKind": "device"}]), share_without_kind),
    Divergence("segment lists users in includedContexts", "node", plant_listed_users, listed_users),
    Divergence("big segment without generation, context without its kind", "node",
               has_segment(unbounded=True, unboundedContextKind="device"), without_generation),
    Divergence("contextTargets name users", "node", plant_context_targets, user_values_in_context_targets),
    Divergence("rule without a list of clauses", "node", sets(rules=[{"id": "odd", "variation": 1}]), without_clauses),
    Divergence("seed 0", "node", sets(fallthrough={"rollout": halves(contextKind="user", seed=0)}), drop_seed_0),
    Divergence("contextKind is an empty text", "node",
               sets(rules=[rule(clause("anonymous", "in", False, kind=""))],
                    fallthrough={"rollout": halves(contextKind="", seed=61)}), empty_kind),
    Divergence("bucketBy is the kind", "node", sets(fallthrough={"rollout": halves(contextKind="user", bucketBy="kind")}),
               bucket_by_kind),
    Divergence("attribute /kind", "node", sets(rules=[rule(clause("/kind", "in", "device"))]), kind_as_path),
    Divergence("reference ends with a slash", "node", refers("/slash/", "slash"), in_references(trailing_slash)),
    Divergence("component of a reference begins with an escape", "node", refers("/~1odd", ["/odd", "~1odd"]),
               in_references(leading_escape)),
    Divergence("name with // or ~ at its end", "node", refers("odd//name", "odd//name"), in_references(literal_that_node_refuses)),
    Divergence("attribute _meta", "node", sets(rules=[rule(clause("_meta", "in", "x"))]), in_references(private_member)),
    Divergence("null among values and in a list", "node", asks("nulls", "in", [None, "x"], [[None], ["x"], ["y", None], []]),
               null_in_list),
    Divergence("date finer than a millisecond", "node", asks("fine", "before", FINE, NEAR_FINE), in_dates("fine", cut_to_milliseconds)),
    Divergence("fractional milliseconds", "node", asks("moment", "before", MOMENTS[:-1], MOMENTS), in_dates("moment", fractional_date)),
    Divergence("date that Node alone reads", "node", asks("midnight", "before", list(NODE_DATES), PLAIN_DATES),
               in_dates("midnight", by_table(NODE_DATES))),
    Divergence("SemVer with blanks around", "node", asks("release", "semVerEqual", VERSIONS_WITH_BLANKS[:-1], VERSIONS_WITH_BLANKS),
               in_versions(lambda value: value.strip() if isinstance(value, str) else value)),
    Divergence("SemVer number beyond 2^53", "node", asks("release", "semVerGreaterThan", LARGE_VERSIONS, LARGE_VERSIONS),
               in_versions(lambda value: "none" if isinstance(value, str) and "9007199254740993" in value else value)),
    Divergence("pattern of JavaScript alone", "node", asks("words", "matches", list(PATTERNS), REGEX_TEXTS), in_patterns(PATTERNS)),
    Divergence("pattern of RE2 alone", "node", asks("words", "matches", list(INLINE_FLAGS), REGEX_TEXTS), in_patterns(INLINE_FLAGS)),
    Divergence("pattern counts UTF-16 units", "node", asks("words", "matches", list(UTF_16), REGEX_TEXTS), in_patterns(UTF_16)),
    Divergence("number as a user's key", "node", adds_contexts({"key": 5}, {"key": 77},
                                                                fallthrough={"rollout": halves(contextKind="user")}), number_as_key),
    Divergence("custom attribute with a reserved name", "node",
               adds_contexts({"key": "u", "custom": {"name": "x"}}, {"key": "v", "custom": {"anonymous": True}},
                             rules=[rule(clause("name", "in", "x")), rule(clause("anonymous", "in", True))]), reserved_in_custom),
    Divergence("clause error before another clause", "node", sets(rules=[rule(clause("//", "in", "x"), always())]),
               drop_errors_before_others),
    Divergence("error of a segment before another clause", "node", plant_segment_error, accepts=is_segment_error_lost),
    Divergence("segment cycle before another clause", "node", plant_segment_cycle, accepts=has_segment_cycle),
    Divergence("prerequisite that is itself malformed", "node", plant_malformed_prerequisite, accepts=has_malformed_prerequisite),
    Divergence("prerequisite cycle before another prerequisite", "node", plant_prerequisite_cycle, accepts=is_prerequisite_error_lost),
    Divergence("context with a member of a wrong type", "node",
               adds_contexts({"kind": "user", "key": "u", "name": 5}, {"kind": "user", "key": "u", "anonymous": None},
                             {"kind": "multi", "user": {"key": "u", "anonymous": "yes"}, "org": {"key": "o"}},
                             {"kind": "user", "key": "u", "_meta": 5}), accepts=is_context_refused),
    Divergence("date that Go alone reads", "go", asks("instant", "before", [*GO_DATES, *PLAIN_DATES], [*GO_DATES, *PLAIN_DATES]),
               in_dates("instant", by_table(GO_DATES))),
    Divergence("date beyond the year 2262 as a number", "go", asks("far", "after", [1e13, 2e13, 1.5e12], [1e13, 2e13, 1.6e12, -1e13]),
               in_dates("far", wrapped_date)),
    Divergence("bucketBy a number from 2^53 on", "go", plant_big, big_number),
    Divergence("custom attribute after a built-in one of its name", "go",
               adds_contexts({"key": "u", "email": "top", "custom": {"email": "custom"}},
                             rules=[rule(clause("email", "in", "custom"))]), custom_after_top),
    Divergence("share whose border 32-bit arithmetic moves", "go",
               sets(fallthrough={"rollout": {"contextKind": "user", "variations": [{"variation": n % 4, "weight": 20}
                                                                                  for n in range(5000)]}}),
               accepts=differs_in_float32, is_anywhere=True),
]


def planted_key(divergence):
    return f"odd-{DIVERGENCES.index(divergence)}"


def plant(divergences, corpus):
    """Each divergence in a flag of its own, then flags that several of them meet in."""
    for divergence in divergences:
        key = planted_key(divergence)
        flag = corpus.flags[key] = {"key": key, "version": 1, "on": True, "salt": key, "offVariation": 3,
                                    "variations": ["a", "b", "c", "d"], "prerequisites": [], "targets": [], "contextTargets": [],
                                    "rules": [], "fallthrough": {"variation": 0}}
        divergence.plant(corpus.random, corpus, flag)
    for n in range(8):
        first, second, third = [planted_key(each) for each in corpus.random.sample(divergences, 3)]
        key = f"mixed-{n}"
        corpus.flags[key] = copy.deepcopy(corpus.flags[first]) | {
            "key": key, "prerequisites": [{"key": second, "variation": 0}],
            "rules": corpus.flags[first]["rules"] + copy.deepcopy(corpus.flags[third]["rules"])}
