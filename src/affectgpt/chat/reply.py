"""The reply of a chat model: an answer, a refusal or a failure, with its reason and its tokens."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

ReplyKind = Literal["answered", "refused", "failed"]


@dataclass(frozen=True)
class Reply:
    """The reply of a model to one prompt.

    Attributes:
        kind: ``answered``; ``refused`` if the model or its server declines; or ``failed`` if there was no reply.
        text: The answer, or the words of the refusal.
        reason: Why there is no answer; ``None`` if there is one.
        prompt_tokens: Number of prompt tokens, if known.
        answer_tokens: Number of answer tokens, if known.
        seconds: From the request to the reply, without earlier tries.
    """

    kind: ReplyKind
    text: str = ""
    reason: str | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The reply as plain JSON, without unknown values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


_SORRY = r"(?:(?:i['\u2019]?m |i am )?(?:very |so |really )?sorry,?(?: but)?|unfortunately,?|i apologi[sz]e,?(?: but)?)"
_CANNOT = r"(?:i can(?:not|['\u2019]?t)|i won['\u2019]t|i(?: am|['\u2019]m) (?:not able to|unable to))"
_DECLINED = (
    r"(?:help|assist|comply|fulfil|do (?:that|this)|provide|answer|respond|identify|recogni[sz]e|infer|determine|"
    r"analy[sz]e|describe|discuss|engage|process|view|see|watch|hear|listen)"
)
_ENGLISH = re.compile(rf"\W*(?:{_SORRY}\s*)?(?:as an ai[^.,]{{0,60}},? )?{_CANNOT} {_DECLINED}", re.I)
_CHINESE = re.compile(r"\W*(?:(?:很?抱歉|对不起|不好意思)[^。]{0,12}?|作为[^。]{0,20}?我|我)(?:无法|不能)")


def is_refusal(text: str) -> bool:
    """Whether an answer is one of the stock sentences with which chat models decline.

    Only the beginning counts, and only the model's own inability: an answer about somebody who cannot help crying is
    not a refusal.

    Examples:
        >>> is_refusal("I'm sorry, but I can't assist with identifying emotions."), is_refusal("抱歉，我无法识别。")
        (True, True)
        >>> is_refusal("She is sorry and cannot help crying."), is_refusal("sad, sorry")
        (False, False)
    """
    return bool(_ENGLISH.match(text) or _CHINESE.match(text))
