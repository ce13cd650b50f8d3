"""The few-shot prompts with which a chat model reads labels and sentiments."""

from __future__ import annotations

# These follow the published prompts (Lian et al. 2025, appendix E, and the authors' code) in the task, the examples and
# the sentence on the main character; the rest of the wording is our own. There is no system prompt, as published.
LABELS_PROMPT = """\
You are an expert in emotions. From the text below, pick the words that name an emotional state of the main character.
The main character is the one with the most detailed clues. Separate the words by commas, and answer with nothing but
the list in square brackets. If no emotional state can be found, answer with an empty list: [].

Input: We cannot recognize his emotional state.
Output: []
Input: His emotional state is happy, sad, and angry.
Output: [happy, sad, angry]
Input: {input}
Output:"""

SENTIMENT_PROMPT = """\
You are an expert in emotions. Given a list of emotion words, choose the sentiment that fits them best from
[positive, negative, neutral]. Answer with that one word and nothing else.

Input: [joyful]
Output: positive
Input: []
Output: neutral
Input: {input}
Output:"""
