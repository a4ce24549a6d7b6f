"""Random flags, segments and contexts from a seed: only what all SDKs read alike.  divergences.py plants the rest."""
import copy
import random

KINDS = ["user", "org", "device", "app.v2"]
KEYS = {kind: [f"{kind}-{n}" for n in range(14)] + ["ключ", "a:b%c", "日本", "😀 key"] for kind in KINDS}
TEXTS = ["", "a", "ab", "abc", "b", "Abc", "café", "日本語", "ключ", "😀", "a b", "a\nb", "x@example.com", "true", "5", "\u0000"]
NUMBERS = [0, 1, 5, -3, 2.5, 1e3, 1e12, -0.0, 0.1, 99999, 33333, 2147483648, 2**40, 1e-7]
PATTERNS = ["^a", "b$", "a.c", "[a-c]+", "^$", "", "(a|x)", "\\d", "\\w@", "é", "[", "*", "(", "a{1,2}c", "日", "^\\s*$", "a\\.b",
            "(?:ab)+", "[^a]", "\\bb"]
DATES = ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z", "2020-01-01T01:00:00+01:00", "2019-12-31T23:30:00-00:30",
         "2020-01-01T00:00:00.5Z", "2020-01-01T00:00:00.123Z", "2020-01-01", "2020-01-01T00:00:00", "2020-13-01T00:00:00Z",
         "2020-02-29T23:59:59Z", "2021-02-29T00:00:00Z", "2020-04-31T12:00:00Z", "2020-00-10T00:00:00Z", "2020-01-32T00:00:00Z",
         "2020-01-01X00:00:00Z", "2020-01-01T25:00:00Z", "2020-01-01T00:61:00Z", "", "soon", "1577836800000",
         "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", 1577836800000, 1577836800001, 1577836799999, 0, -1, 1577836800500]
VERSIONS = ["1", "1.0", "1.0.0", "2.0.0", "1.2.3", "1.10.0", "1.9.9", "2-rc", "2.0.0-rc.1", "2.0.0-rc.2", "2.0.0-rc.10", "2.0.0-1",
            "2.0.0-a.b", "2.0.0-a.b.c", "2.0.0-alpha", "2.0-rc.1", "1+build", "1.0.0+b1.2", "1.0.0-0", "1.0.0-01", "1.0.0-a..b",
            "01.0.0", "v1.0.0", "1.2.3.4", "", "x", "1.", "1.2.", "1.0.0-", "1.0.0+", "-1.0.0", "1.0.0-A", "1.0.0--", "1.a"]
PER_OPERATOR = {
    "in": TEXTS + NUMBERS + [True, False, [1], {"a": 1}], "startsWith": TEXTS + [5], "endsWith": TEXTS + [True],
    "contains": TEXTS + [None], "matches": PATTERNS + [5], "lessThan": NUMBERS + ["5"], "lessThanOrEqual": NUMBERS,
    "greaterThan": NUMBERS + [True], "greaterThanOrEqual": NUMBERS, "before": DATES + [True, None], "after": DATES + [[0]],
    "semVerEqual": VERSIONS + [1], "semVerLessThan": VERSIONS + [2], "semVerGreaterThan": VERSIONS, "sounds-like": TEXTS,
}
# Which attribute an operator mostly asks for, so that answers of both sorts come often; otherwise any, but for dates one that
# holds no number with a fraction.
ATTRIBUTE_OF = {"before": "when", "after": "when", "semVerEqual": "version", "semVerLessThan": "version",
                "semVerGreaterThan": "version"}
ANY = {"text": TEXTS, "number": NUMBERS, "when": DATES, "version": VERSIONS}
REFERENCES = ["key", "name", "anonymous", "text", "number", "/text", "/nested/a", "/nested/deep/b", "nested", "list", "/list/0",
              "a/b", "/a~1b", "/t~0x", "missing", "/nested/missing", "/key", "flagged", "kind", "t~x"]
INVALID_REFERENCES = ["", "/", "//", "/a//b", "/a~2"]
BUCKET_BY = ["key", "text", "number", "flagged", "missing", "list", "/nested/a"]
INVALID_CONTEXTS = [{}, {"kind": "user"}, {"kind": "user", "key": ""}, {"kind": "user", "key": 5}, {"kind": "", "key": "a"},
                    {"kind": "multi"}, {"kind": "kind", "key": "a"}, {"kind": "no blanks", "key": "a"}, {"kind": 5, "key": "a"},
                    {"kind": "multi", "user": {"key": ""}, "org": {"key": "o"}}, {"kind": "multi", "user": 5},
                    {"kind": "multi", "kind!": {"key": "a"}}, {"key": None}, {"kind": "user", "key": None}, {"name": "nobody"}]


class Corpus:
    def __init__(self, seed, flags=40, segments=12, contexts=50):
        self.random = random.Random(seed)
        self.segments, self.flags = {}, {}
        for n in range(segments):
            self.segments[f"segment-{n}"] = self.segment(f"segment-{n}", n)
        for n in range(flags):
            self.flags[f"flag-{n}"] = self.flag(f"flag-{n}", n)
        self.contexts = [self.context() for _ in range(contexts)]

    def chance(self, probability):
        return self.random.random() < probability

    def some(self, values, most=3, least=0):
        return [self.random.choice(values) for _ in range(self.random.randint(least, most))]

    # Contexts

    def attributes(self):
        pick = self.random.choice
        made = {}
        for name, values in ANY.items():
            if self.chance(0.75):
                made[name] = self.some(values + [None], 4) if self.chance(0.2) else pick(values)
        if self.chance(0.5):
            made["nested"] = {"a": pick(TEXTS + NUMBERS), "deep": {"b": pick(NUMBERS + [None])}}
        if self.chance(0.4):
            made["list"] = self.some(TEXTS + NUMBERS + [True, None, [1], {}], 3)
        if self.chance(0.3):
            made |= {"a/b": pick(TEXTS), "t~x": pick(NUMBERS), "flagged": pick([True, False, None])}
        return made

    def key(self, kind):
        """One that targets may name, or one that nobody had: then its bucket is new."""
        return self.random.choice(KEYS[kind]) if self.chance(0.5) else f"{kind}-{self.random.randrange(10**9)}"

    def individual(self, kind):
        made = {"key": self.key(kind)} | self.attributes()
        if self.chance(0.3):
            made["name"] = self.random.choice(TEXTS + [None])
        if self.chance(0.3):
            made["anonymous"] = self.chance(0.5)
        if self.chance(0.1):
            made["_meta"] = {"privateAttributes": ["text", "/nested/a"]}
        return made

    def legacy_user(self):
        user = {"key": self.key("user")}
        if self.chance(0.8):
            user["custom"] = self.attributes()
        for name in ("name", "firstName", "lastName", "email", "country", "avatar", "ip"):
            if self.chance(0.3):
                user[name] = self.random.choice(TEXTS + [None])
        if self.chance(0.3):
            user["anonymous"] = self.random.choice([True, False, None])
        if self.chance(0.2):
            user |= {"secondary": "s", "privateAttributeNames": ["text"], "unknown": 1}
        return user

    def context(self):
        roll = self.random.random()
        if roll < 0.03:
            return copy.deepcopy(self.random.choice(INVALID_CONTEXTS))
        if roll < 0.13:
            return self.legacy_user()
        if roll < 0.55:
            kind = self.random.choice(KINDS + ["user"] * 3)
            return {"kind": kind} | self.individual(kind)
        kinds = self.random.sample(KINDS, self.random.randint(1, len(KINDS)))
        return {"kind": "multi"} | {kind: self.individual(kind) for kind in kinds}

    # Targeting

    def kind(self):
        return self.random.choice(KINDS + ["user"] * 2 + ["nobody"])

    def clause(self):
        op = self.random.choice(list(PER_OPERATOR))
        attribute = ATTRIBUTE_OF.get(op) if self.chance(0.8) else None
        others = ["text", "/text", "flagged", "missing", "kind"] if op in ("before", "after") else REFERENCES
        clause = {"attribute": attribute or self.random.choice(others), "op": op, "negate": self.chance(0.25),
                  "values": self.some(PER_OPERATOR[op], 6)}
        if op == "in" and clause["attribute"] == "kind":
            clause["values"] += self.some(KINDS, 2)
        if op == "in" and clause["attribute"] in ("key", "/key"):
            clause["values"] += self.some(KEYS["user"] + KEYS["org"], 6)
        if self.chance(0.85):
            clause["contextKind"] = self.kind()
        return clause

    def clauses(self, segments):
        """What can be an error stands last: some SDKs forget it when another clause follows."""
        clauses = [self.clause() for _ in range(self.random.choice([0, 0, 1, 1, 2, 3]))]
        roll = self.random.random()
        if segments and roll < 0.4:
            clauses.append({"attribute": "", "op": "segmentMatch", "negate": self.chance(0.2), "contextKind": "user",
                            "values": self.some(segments + ["unknown", None, 5], 3, 1)})
        elif roll > 0.98:
            clauses.append({"contextKind": self.kind(), "attribute": self.random.choice(INVALID_REFERENCES), "op": "in",
                            "values": ["a"], "negate": False})
        elif not clauses and roll < 0.8:
            clauses.append(self.clause())
        return clauses

    def rollout(self, variations, may_be_malformed):
        entries = [{"variation": self.random.randrange(variations), "weight": self.random.choice([0, 1, 10000, 33333, 50000])}
                   for _ in range(self.random.randint(1, 4))]
        if self.chance(0.8):
            entries[-1]["weight"] = max(0, 100000 - sum(each["weight"] for each in entries[:-1]))
        if self.chance(0.1):  # many borders
            entries = [{"variation": n % variations, "weight": 1000} for n in range(100)]
        rollout = {"variations": entries}
        for entry in entries:
            if self.chance(0.2):
                entry["untracked"] = self.chance(0.7)
        if self.chance(0.8):
            rollout["contextKind"] = self.kind()
        if self.chance(0.35):
            rollout["kind"] = self.random.choice(["experiment", "experiment", "rollout"])
        if self.chance(0.4):
            rollout["bucketBy"] = self.random.choice(BUCKET_BY + ["//"] if may_be_malformed else BUCKET_BY)
        if self.chance(0.4):
            rollout["seed"] = self.random.choice([1, 61, 2147483647, 123456])
        return rollout

    def outcome(self, variations, may_be_malformed):
        roll = self.random.random()
        if roll < 0.5:
            return {"variation": self.random.randrange(variations)}
        if roll < 0.95 or not may_be_malformed:
            return {"rollout": self.rollout(variations, may_be_malformed)}
        return self.random.choice([{}, {"rollout": {"variations": []}}, {"variation": variations}, {"variation": -1},
                                   {"variation": None, "rollout": self.rollout(variations, True)}])

    def flag(self, key, n):
        values = self.some([True, False, "a", "b", 5, 2.5, "日本", {"a": [1, None]}, [], None, "", "😀", 1e21], 4, 2)
        count = len(values)
        may_be_malformed = n % 5 == 4  # such a flag is nobody's prerequisite: there SDKs differ
        flag = {"key": key, "version": 1 + n, "on": self.chance(0.9), "salt": self.random.choice(["salt", "соль", "", "a.b"]),
                "variations": values, "prerequisites": [], "targets": [], "contextTargets": [], "rules": [],
                "fallthrough": self.outcome(count, may_be_malformed)}
        if self.chance(0.85):
            flag["offVariation"] = self.random.choice([None] + list(range(count)))
        if n >= 5 and self.chance(0.4):
            flag["prerequisites"] = [{"key": self.random.choice([f"flag-{self.random.randrange(n // 5) * 5 + self.random.randrange(4)}"] * 9 + ["unknown"]),
                                      "variation": self.random.randrange(2)} for _ in range(self.random.choice([1, 1, 2, 3]))]
        if self.chance(0.3):
            self.add_targets(flag, count)
        for r in range(self.random.randint(0, 4)):
            flag["rules"].append({"id": self.random.choice([f"rule-{r}", f"rule-{r}", ""]),
                                  "clauses": self.clauses(list(self.segments))} | self.outcome(count, may_be_malformed))
        for name in ("prerequisites", "targets", "contextTargets"):
            if not flag[name] and self.chance(0.1):
                flag[name] = None
        if self.chance(0.02):
            flag["deleted"] = True
        return flag

    def add_targets(self, flag, count):
        for variation in range(count):
            if self.chance(0.6):
                flag["targets"].append({"variation": variation, "values": self.some(KEYS["user"], 4)})
            if self.chance(0.4):
                kind = self.random.choice(KINDS)
                flag["contextTargets"].append({"contextKind": kind, "variation": variation,
                                               "values": [] if kind == "user" else self.some(KEYS[kind], 4)})
        self.random.shuffle(flag["contextTargets"])

    def segment(self, key, n):
        others = [f"segment-{i}" for i in range(n)]
        segment = {"key": key, "version": 1, "salt": self.random.choice(["salt", "s2"]), "included": [], "excluded": [], "rules": [],
                   "includedContexts": [], "excludedContexts": []}
        for name in ("included", "excluded"):
            if self.chance(0.5):
                most = 150 if self.chance(0.1) else 4  # beyond 100 an SDK may go over to another structure
                segment[name] = self.some(KEYS["user"], most)
            if self.chance(0.3):
                kind = self.random.choice(KINDS[1:])
                segment[name + "Contexts"] = [{"contextKind": kind, "values": self.some(KEYS[kind], most if self.chance(0.5) else 4)}
                                              ] if segment[name] else [{"contextKind": kind, "values": self.some(KEYS[kind], 4)}]
        for r in range(self.random.randint(0, 3)):
            rule = {"id": f"r{r}", "clauses": self.clauses(others)}
            if self.chance(0.5):
                self.add_share(rule)
            segment["rules"].append(rule)
        if self.chance(0.08):
            segment |= {"unbounded": True, "unboundedContextKind": self.random.choice(KINDS), "generation": 1}
        return segment

    def add_share(self, rule):
        """A share of the contexts that a rule names.  It asks for a member of the kind that is bucketed."""
        rule["weight"] = self.random.choice([0, 1, 30000, 50000, 100000])
        kind = "user"
        if self.chance(0.8):
            kind = rule["rolloutContextKind"] = self.random.choice(KINDS)
        if self.chance(0.4):
            rule["bucketBy"] = self.random.choice(BUCKET_BY)
        rule["clauses"].insert(0, {"attribute": "kind", "op": "in", "values": [kind], "negate": False})
