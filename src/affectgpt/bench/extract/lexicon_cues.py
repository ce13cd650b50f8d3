"""The words by which the lexicon tells claims, guesses and negations from the rest of an English description."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that announce an emotion without naming one ("an emotional tone", "the content of the subtitle").
FRAME_WORDS = _words(
    """
    emotion emotions emotional emotionally mood moods feeling feelings feel feels felt sense senses sentiment sentiments
    expression expressions tone attitude state impression atmosphere positive negative content
    """
)

# Words of the vocabularies that usually do not mean an emotion in a description of a scene: what is seen and heard
# (posture, light, voice), acts of speech and of reasoning, function words. Smiles and tears are here as well: they are
# evidence, and the description itself states the emotion that they are evidence of.
ORDINARY_WORDS = _words(
    """
    action actions open opens opened opening close closes closed left right direct directed direction low lower
    lowered lowers lowering down downward downwards downturned raise raised raises raising move moves moved moving fixed
    face faces facing facial heavy slight slightly somewhat soft sharp long slow steady quickly dim dimly white black
    bright dark light wearing intense strong ground here leave bit certain clear current still only will kind life
    see seen sees look looks watch observe observing observation attention focus focused engage engaged engaging
    speech speak speaking spoken sound sounds wave waves question questions information inform responding respond
    evaluation decision argument arguing argue important importance meaning impress related associated involve involves
    include includes person persons people go goes going gone try trying want wants wanting determine determined analyze
    analyzed support supports supported reflect reflects reflecting reflected thought thinking lack speculate speculated
    create creative creatively understand understands number numbers value values please nearly
    unexpected smile smiles smiled smiling laugh laughs laughing laughed laughter cry crying tear tears frown frowning
    """
)

# They govern the words up to the end of the clause, but at most SCOPE_WORDS words.
NEGATORS = _words(
    """
    not no never without neither nor hardly cannot lack lacks lacking absence isn't aren't wasn't weren't doesn't don't
    didn't rather_than instead_of far_from
    """
)
SCOPE_WORDS = 7
JOINED = (
    ("rather than", "rather_than"),
    ("instead of", "instead_of"),
    ("far from", "far_from"),
    ("not only", "also"),
    ("no doubt", "surely"),
)

# The words that follow them, up to the end of the clause, are a guess.
HEDGES = _words(
    """
    may might could possibly perhaps maybe possible probably likely seem seems seemingly suggest suggests suggesting
    appear appears speculate speculated somewhat slightly slight hint or
    """
)
CONTRASTS = _words("but however although while yet")

# Sentences that are summaries, and phrases that introduce a conclusion.
CONCLUSION = re.compile(
    r"\b(?:therefore|thus|hence|in conclusion|in summary|to sum up|overall|in short|consequently|all in all)\b"
)
INFERENCE = re.compile(
    r"\b(?:(?:we|one) can (?:\w+ )?(?:infer|conclude|deduce|see|feel|speculate|judge|determine)"
    r"|can be (?:inferred|concluded|deduced|speculated|seen)"
    r"|it is (?:inferred|likely)"
    r"|(?:infer|inferred|conclude|concluded|deduce|deduced|speculate|speculated) that)\b"
)

# The words of a character are not the description's words about the character.
QUOTATION = re.compile(r'"[^"\n]{0,600}"|“[^”\n]{0,600}”|「[^」\n]{0,600}」')
SENTENCE_END = re.compile(r"(?<=[.!?;])\s*(?=[A-Z\"“\s])|[\u3002\uff1b\uff01\uff1f\n]")
TOKEN = re.compile(r"[a-z_]+(?:['\u2019][a-z]+)*|[,:()]")
