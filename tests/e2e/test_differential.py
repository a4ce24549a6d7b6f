"""Our evaluator against those of official SDKs, on random flags, segments and contexts.

    FLAGSTREAM_PAIRS   of flag and context, for each SDK (100000; with many fewer not every divergence is seen)
    FLAGSTREAM_SEED    of the first corpus (1)

Four of five corpora hold only what SDKs read alike: there every answer must be equal.  The fifth holds every divergence of
differential/divergences.py: there every answer must be equal or be exactly what a divergence says, and each must be seen.
"""
import collections
import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "differential"))

from corpus import Corpus  # noqa: E402
from divergences import DIVERGENCES, plant, planted_key  # noqa: E402
from documents import closure  # noqa: E402
from peers import Ours, go_peer, node_peer  # noqa: E402
from shrink import shrunk  # noqa: E402

PAIRS = int(os.environ.get("FLAGSTREAM_PAIRS", "100000"))
SEED = int(os.environ.get("FLAGSTREAM_SEED", "1"))
ODD_EVERY = 5


class Differential:
    def __init__(self, name, peer):
        self.ours, self.peer = Ours(), peer
        self.divergences = [each for each in DIVERGENCES if each.peer == name]
        self.seen = collections.Counter()
        self.reasons = collections.Counter()
        self.pairs = 0

    def compare(self, seed):
        """Compares one corpus; fails the test at the first difference that no divergence explains."""
        corpus = Corpus(seed)
        is_odd = seed % ODD_EVERY == 0
        if is_odd:
            plant(self.divergences, corpus)
        document = {"flags": corpus.flags, "segments": corpus.segments}
        pairs = [(flag, context) for context in corpus.contexts for flag in [*corpus.flags, "no-such-flag"]]
        mine, theirs = self.ours.evaluate(document, pairs), self.peer.evaluate(document, pairs)
        self.pairs += len(pairs)
        self.reasons.update(each["reason"]["kind"] for each in mine)
        different = [(closure(document, flag), flag, context, ours, other)
                     for (flag, context), ours, other in zip(pairs, mine, theirs) if ours != other]
        candidates = self.candidates(is_odd)
        for case, is_explained in zip(different, self.explained(different, candidates)):
            if not is_explained:
                pytest.fail(self.reproduction(seed, case, candidates), pytrace=False)
        self.count_seen(different)

    def candidates(self, is_odd):
        return [each for each in self.divergences if is_odd or each.is_anywhere]

    def explained(self, cases, candidates):
        """For each case whether the candidates together explain it."""
        rewritten = [self.rewritten(case, candidates) for case in cases]
        answers = self.ours.evaluate_cases(rewritten) if cases else []
        return [answer == theirs or any(each.accepts and each.accepts(document, flag, context, answer, theirs) for each in candidates)
                for (document, flag, context, _, theirs), answer in zip(cases, answers)]

    @staticmethod
    def rewritten(case, candidates):
        document, context = json.loads(json.dumps([case[0], case[2]]))
        for each in candidates:
            if each.rewrite:
                each.rewrite(document, context)
        return document, case[1], context

    def count_seen(self, cases):
        """Those that explain, alone, what is different in the flag that was made for them."""
        for each in self.divergences:
            own = [case for case in cases if case[1] == planted_key(each)]
            self.seen[each.name] += sum(self.explained(own, [each]))

    def is_unexplained(self, document, flag, context, candidates):
        ours = self.ours.evaluate(document, [(flag, context)])[0]
        theirs = self.peer.evaluate(document, [(flag, context)])[0]
        return ours != theirs and not self.explained([(document, flag, context, ours, theirs)], candidates)[0]

    def reproduction(self, seed, case, candidates):
        document, flag, context, _, _ = case
        document, context = shrunk(document, flag, context, lambda d, c: self.is_unexplained(d, flag, c, candidates))
        ours = self.ours.evaluate(document, [(flag, context)])[0]
        theirs = self.peer.evaluate(document, [(flag, context)])[0]
        return (f"seed {seed}: answers differ\n  flag      {flag}\n  flags     {json.dumps(document['flags'])}\n"
                f"  segments  {json.dumps(document['segments'])}\n  context   {json.dumps(context)}\n"
                f"  ours      {ours}\n  SDK       {theirs}")


def run(name, peer):
    differential = Differential(name, peer)
    seed = SEED
    try:
        while differential.pairs < PAIRS:
            differential.compare(seed)
            seed += 1
    finally:
        peer.close()
    print(f"{differential.pairs} pairs equal to {name}'s, seeds {SEED} to {seed - 1}; {dict(differential.reasons)}")
    for each in differential.divergences:
        print(f"  {differential.seen[each.name]:>8} x {each.name}")
    assert [each.name for each in differential.divergences if not differential.seen[each.name]] == [], "never seen"
    assert {"OFF", "FALLTHROUGH", "TARGET_MATCH", "RULE_MATCH", "PREREQUISITE_FAILED", "ERROR"} == set(differential.reasons)


def test_answers_equal_those_of_the_node_sdk():
    run("node", node_peer())


def test_answers_equal_those_of_the_go_evaluator():
    peer, why_not = go_peer()
    if peer is None:
        pytest.skip(why_not)
    run("go", peer)
